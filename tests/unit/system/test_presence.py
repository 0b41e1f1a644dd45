"""Paths that this process may not look at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nixdock.system.presence import exists, is_directory, is_file, is_link, is_pipe

ROOT = Path(__file__).parents[3]


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nothing")
    found = {
        name: [tell(tmp_path / name) for tell in (exists, is_file, is_directory, is_link, is_pipe)]
        for name in ("", "file", "link", "dangling", "nothing", "pipe")
    }
    assert found == {
        "": [True, False, True, False, False],
        "file": [True, True, False, False, False],
        "link": [True, True, False, True, False],
        "dangling": [False, False, False, True, False],
        "nothing": [False, False, False, False, False],
        "pipe": [True, False, False, False, True],
    }


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["inspect", "{}/image.tar"], 2, "can't open {}/image.tar: Permission denied"),
        (["diff", "{}/a.tar", "{}/b.tar"], 2, "can't read {}/a.tar: Permission denied"),
        (["copy", "{}/image", "oci:new"], 2, "can't open {}/image: Permission denied"),
        (["serve", "{}/image"], 2, "can't open {}/image: Permission denied"),
        (["demo", "-o", "{}/image.tar"], 1, "can't write to {}: Permission denied"),
    ],
)
def test_a_directory_that_can_not_be_searched(
    tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    """Path's methods raise PermissionError there, in some versions of Python."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    # Root can search it nevertheless, unless it has given up that right.
    program = (
        "import ctypes, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "for right in (1, 2):\n"  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        "    libc.prctl(24, right, 0, 0, 0)\n"  # PR_CAPBSET_DROP
        "import os\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'nixdock', *sys.argv[1:]])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *(each.format(closed) for each in arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        status,
        f"error: {message.format(closed)}",
    )
