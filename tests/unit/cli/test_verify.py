"""`nixdock verify`: what it prints and how it exits."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from nixdock.cli import main
from tests.unit.cli.program import environment, run_text


def nixdock(*args: str | Path) -> tuple[int, str, str]:
    done = run_text(*args)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def layout(tmp_path: Path, sample_spec: Callable[..., Path]) -> Path:
    target = tmp_path / "layout"
    options = ["-q", "--format", "oci-layout", "--compression", "none", "-o", str(target)]
    args = ["build", str(sample_spec(tmp_path)), *options]
    main.main(args, standalone_mode=False)
    return target


def test_ok(layout: Path) -> None:
    assert nixdock("verify", layout) == (0, "ok: oci-layout, 1 image, 5 layers, 61.4 kB\n", "")


def test_problems(layout: Path) -> None:
    blobs = layout / "blobs/sha256"
    (blobs / ("0" * 64)).write_bytes(b"")
    layer = max(blobs.iterdir(), key=lambda blob: blob.stat().st_size)
    data = layer.read_bytes()
    layer.chmod(0o644)
    layer.write_bytes(data.replace(b"the same", b"The same"))
    status, out, err = nixdock("verify", layout)
    assert (status, err) == (1, f"error: 2 problems in {layout}\n")
    diff_id, digest, stray = out.splitlines()
    assert stray == f"blobs/sha256/{'0' * 64}: warning: nothing refers to this blob"
    assert f"the layer's diff_id is sha256:{layer.name}, but its digest is sha256:" in diff_id
    assert f": the blob sha256:{layer.name} is damaged: its digest is sha256:" in digest


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_a_bar_on_a_terminal(layout: Path, command: str) -> None:
    def errors(*options: str) -> bytes:
        ours, theirs = pty.openpty()
        words = [sys.executable, "-m", "nixdock", command, *options, str(layout)]
        env = environment(TERM="xterm")
        subprocess.run(words, env=env, stdout=subprocess.DEVNULL, stderr=theirs, check=True)
        os.close(theirs)
        shown = b""
        with suppress(OSError):
            while chunk := os.read(ours, 4096):
                shown += chunk
        os.close(ours)
        return shown

    assert re.search(rb"0\.0/[0-9.]+ kB", errors())
    assert errors("-q") == b""


def test_paths_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n" * 1000)
    status, out, err = nixdock("verify", tmp_path / "text")
    assert (status, out) == (2, "")
    assert err == f"error: {tmp_path}/text is not an image: it is neither a directory nor a tar\n"
    (tmp_path / "spec.json").write_text(' {"version": 1}')
    status, _, err = nixdock("verify", tmp_path / "spec.json")
    assert status == 2
    assert err.endswith("nor a tar; if it is a spec, nixdock build makes the image of it\n")
    status, _, err = nixdock("verify", tmp_path / "gone")
    assert (status, err) == (2, f"error: can't open {tmp_path}/gone: No such file or directory\n")
