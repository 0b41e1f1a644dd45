"""Commands whose small outputs find no room: each names the file, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .program import PROGRAM, environment

# The file system disappears with the process that mounts it.
_SCRIPT = """
    mount -t tmpfs -o size=64k none "$1" || exit 99
    target=$1; shift
    head -c 100000 /dev/zero > "$target/full" 2> /dev/null
    "$@"; status=$?
    ls -A "$target"
    exit $status
"""


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("plan-family a=graph.json -o small/out", "can't write "),
        ("db graph.json -o small/out", "can't write the Nix database below small/out"),
        ("top-layer sample.json -o small/out", "can't write "),
    ],
)
def test_no_room(
    sample_spec: Callable[..., Path], tmp_path: Path, words: str, message: str
) -> None:
    sample_spec(tmp_path, extra_commands="").rename(tmp_path / "sample.json")
    (tmp_path / "small").mkdir()
    unshare = shutil.which("unshare")
    assert unshare is not None, "unshare is not installed; on Debian: apt-get install util-linux"
    become_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(
        [
            *(unshare, "--mount", *become_root, "sh", "-c", _SCRIPT, "sh", f"{tmp_path}/small"),
            *(*PROGRAM, *words.split()),
        ],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(Path(__file__).parents[3])),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
    assert "Errno" not in done.stderr
    assert done.stdout == "full\n", "nothing is left behind"
