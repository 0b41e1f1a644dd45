"""Types of options."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from nixdock.cli.options import OUTPUT, OUTPUT_PATH

from .program import run_text


@pytest.mark.parametrize("kind", [OUTPUT, OUTPUT_PATH])
def test_what_is_written_need_not_be_readable(
    kind: click.Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is the pipe of another user's process, to which /dev/stdout may lead."""
    target = tmp_path / "target"
    target.touch()
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.R_OK)
    assert kind.convert(str(target), None, None) == target
    assert OUTPUT.convert("-", None, None) == Path("/dev/stdout")


@pytest.mark.parametrize(
    "words",
    ["plan", "plan g.json -o", "build s.json -o", "build s.json --graph", "copy x", "tarsum"],
)
def test_an_empty_name_is_not_the_current_directory(words: str) -> None:
    done = run_text(*words.split(), "")
    assert done.returncode == 2
    assert "the name of a file is empty" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["./-", ".//-", "././-"])
@pytest.mark.parametrize("words", ["plan", "check --deny-path zzz", "build --dry-run", "inspect"])
def test_a_file_may_have_the_name_of_standard_input(
    sample_spec: Callable[..., Path], tmp_path: Path, words: str, name: str
) -> None:
    sample_spec(tmp_path, extra_commands="").rename(tmp_path / "-")
    done = run_text(*words.split(), name, directory=tmp_path, stdin="not a spec")
    assert done.returncode == 0, done.stderr


def test_a_copy_to_a_registry_without_docker(tmp_path: Path) -> None:
    (tmp_path / "x.tar").touch()
    for name in ("localhost:5999/me/hello:v2", "ghcr.io/me/hello"):
        done = run_text("copy", "x.tar", name, directory=tmp_path)
        assert done.returncode == 2
        assert f"write docker://{name}" in done.stderr.splitlines()[-1]
    done = run_text("copy", "x.tar", "directory/x.tar", directory=tmp_path)
    assert "docker://" not in done.stderr
