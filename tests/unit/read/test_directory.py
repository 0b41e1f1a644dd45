"""An image's files in a directory in which others write."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from nixdock.read.directory import Directory


def test_a_file_that_vanishes_is_not_there(tmp_path: Path) -> None:
    """As temporary files do while something is added to a layout."""
    done = threading.Event()

    def write() -> None:
        files = [tmp_path / str(number) for number in range(20)]
        while not done.is_set():
            for file in files:
                file.touch()
            for file in files:
                file.unlink()

    (tmp_path / "kept").write_bytes(b"data")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(500):
            assert Directory(tmp_path).size("kept") == 4
    finally:
        done.set()
        writer.join()
        sys.setswitchinterval(before)
