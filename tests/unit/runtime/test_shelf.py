"""Blobs that are made when they are asked for: once, and within a bound."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nixdock.errors import OutputError, PackError
from nixdock.oci.digests import hex_of, sha256_digest
from nixdock.runtime.shelf import Shelf


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An empty directory."""
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


def digest(name: str) -> str:
    return sha256_digest(name.encode())


class Maker:
    """Writes files of ten bytes, and counts them."""

    def __init__(self, size: int = 10) -> None:
        self.made: list[Path] = []
        self.size = size

    def __call__(self, file: Path) -> None:
        self.made.append(file)
        file.write_bytes(b"x" * self.size)


def files(shelf: Shelf) -> set[str]:
    return {file.name for file in shelf.directory.iterdir()}


def test_a_blob_is_made_once(directory: Path) -> None:
    shelf, make = Shelf(directory), Maker()
    for _ in range(3):
        with shelf.open(digest("a"), 10, make) as stream:
            assert stream.read() == b"x" * 10
    assert len(make.made) == 1
    assert files(shelf) == {hex_of(digest("a"))}


def test_a_blob_is_made_once_for_many_who_ask_at_the_same_time(directory: Path) -> None:
    shelf = Shelf(directory)
    together = threading.Barrier(8)
    made: list[Path] = []

    def make(file: Path) -> None:
        made.append(file)
        file.write_bytes(b"data")

    def ask(_: int) -> bytes:
        together.wait()
        with shelf.open(digest("a"), 4, make) as stream:
            return stream.read()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [b"data"] * 8
    assert len(made) == 1


def test_different_blobs_are_made_at_the_same_time(directory: Path) -> None:
    shelf = Shelf(directory)
    # Passes only if both are being made at once.
    together = threading.Barrier(2, timeout=30)

    def make(file: Path) -> None:
        together.wait()
        file.write_bytes(b"data")

    with ThreadPoolExecutor(2) as pool:
        streams = list(pool.map(lambda name: shelf.open(digest(name), 4, make), "ab"))
    for stream in streams:
        stream.close()


def test_what_was_not_asked_for_longest_goes(directory: Path) -> None:
    shelf, make = Shelf(directory, most=25), Maker()
    for name in ("a", "b", "a", "c"):
        shelf.open(digest(name), 10, make).close()
    assert files(shelf) == {hex_of(digest("a")), hex_of(digest("c"))}
    assert shelf.room == 5
    shelf.open(digest("b"), 10, make).close()
    assert len(make.made) == 4


def test_who_reads_a_blob_keeps_it(directory: Path) -> None:
    shelf, make = Shelf(directory, most=10), Maker()
    with shelf.open(digest("a"), 10, make) as stream:
        shelf.open(digest("b"), 10, make).close()
        assert files(shelf) == {hex_of(digest("b"))}
        assert stream.read() == b"x" * 10


def test_one_blob_may_be_too_large(directory: Path) -> None:
    shelf, make = Shelf(directory, most=5), Maker()
    for name in ("a", "a", "b"):
        with shelf.open(digest(name), 10, make) as stream:
            assert len(stream.read()) == 10
    assert len(make.made) == 2


def test_files_that_are_there_already(directory: Path) -> None:
    shelf, make = Shelf(directory, most=15), Maker()
    for name in ("a", "b"):
        (directory / hex_of(digest(name))).write_bytes(b"earlier")
        shelf.adopt(digest(name), 7)
    with shelf.open(digest("a"), 7, make) as stream:
        assert stream.read() == b"earlier"
    assert make.made == []
    (directory / hex_of(digest("c"))).write_bytes(b"other")
    shelf.adopt(digest("c"), 5)
    assert files(shelf) == {hex_of(digest("a")), hex_of(digest("c"))}


def test_a_failure_leaves_nothing_and_the_next_one_tries_again(directory: Path) -> None:
    shelf = Shelf(directory)

    def fail(file: Path) -> None:
        file.write_bytes(b"half")
        raise PackError("a file has changed")

    with pytest.raises(PackError):
        shelf.open(digest("a"), 10, fail)
    assert files(shelf) == set()
    shelf.open(digest("a"), 10, Maker()).close()
    assert shelf.room > 0


def test_a_file_that_others_remove_is_made_again(directory: Path) -> None:
    shelf, make = Shelf(directory), Maker()
    shelf.open(digest("a"), 10, make).close()
    (directory / hex_of(digest("a"))).unlink()
    with pytest.raises(OutputError, match="can't read"):
        shelf.open(digest("a"), 10, make)
    shelf.open(digest("a"), 10, make).close()
    assert len(make.made) == 2


def test_a_closed_shelf_stops_who_is_packing(directory: Path) -> None:
    shelf = Shelf(directory)
    shelf.check_open(1)
    shelf.close()
    with pytest.raises(OutputError, match="the server has ended"):
        shelf.check_open(2)
