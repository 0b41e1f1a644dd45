"""Files that only save work: bounded, and whole whoever writes them at once."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nixdock.system.cached_files import CachedFiles


def test_what_is_written_is_read(tmp_path: Path) -> None:
    files = CachedFiles(tmp_path / "a/b", 10)
    assert files.read("x", 10) is None
    files.write([("x", b"one"), ("y", b"two"), ("x", b"three")])
    assert (files.read("x", 10), files.read("y", 2)) == (b"three", b"tw")
    assert (tmp_path / "a/b").stat().st_mode & 0o077 == 0
    assert sorted(os.listdir(tmp_path / "a/b")) == ["x", "y"]


def test_there_may_be_no_place_for_them(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (None, tmp_path / "file", tmp_path / "file/below"):
        files = CachedFiles(directory, 10)
        files.write([("x", b"one")])
        assert files.read("x", 10) is None
    assert CachedFiles(tmp_path, 10).read("\0", 10) is None


def test_a_full_disk_is_filled_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(file: Path, data: bytes) -> int:
        with file.open("wb") as opened:
            opened.write(data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    files = CachedFiles(tmp_path, 10)
    files.write([("x", b"one")])
    monkeypatch.setattr(Path, "write_bytes", write)
    files.write([("x", b"two"), ("y", b"two")])
    assert os.listdir(tmp_path) == ["x"]
    assert files.read("x", 10) == b"one"


def test_the_oldest_are_dropped(tmp_path: Path) -> None:
    files = CachedFiles(tmp_path, 20)
    for number in range(50):
        files.write([(str(number), b"")])
        os.utime(tmp_path / str(number), ns=(number, number))
    left = sorted(map(int, os.listdir(tmp_path)))
    assert left == [*range(50 - len(left), 50)]
    assert 15 <= len(left) <= 20


def test_a_file_is_always_a_whole_one(tmp_path: Path) -> None:
    def write_and_read(worker: int) -> None:
        files = CachedFiles(tmp_path, 4)
        for turn in range(50):
            files.write([(str(turn % 6), bytes([worker]) * 10_000)])
            found = files.read(str(turn % 5), 1 << 20)
            assert found is None or found == found[:1] * 10_000

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_and_read, range(8)))
    assert len(os.listdir(tmp_path)) <= 4 + 8
