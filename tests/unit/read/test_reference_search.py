"""Searching layers for references, whatever the size of the pieces in which they are read."""

from __future__ import annotations

import io
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.read import reference_search
from nixdock.read.contents import read_contents
from nixdock.read.reference_search import SearchedReader, hashes_in
from tests.unit.nix.nar_files import File, Link, Tree
from tests.unit.read.test_contents import PATHS, add

NAMES = [path[11:] for path in PATHS]
PIECES = st.lists(
    st.sampled_from([f"/nix/store/{name}".encode() for name in NAMES])
    | st.sampled_from([b"/" + b"a" * 31, b"a" * 33 + b"-", b"/", NAMES[0].encode()])
    | st.binary(max_size=40)
    | st.integers(0, 5000).map(bytes),
    max_size=6,
).map(b"".join)


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__()
        self._stream = io.BytesIO(data)
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer)[: self._most]  # type: ignore[arg-type]
        return self._stream.readinto(view)


def tar_of(*found: Tree) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", errors="surrogateescape") as archive:
        for path, tree in zip(PATHS, found, strict=False):
            add(archive, path, tree)
    return stream.getvalue()


@given(st.tuples(PIECES, PIECES, PIECES), st.integers(1, 5000))
def test_each_file_has_what_is_in_it(data: tuple[bytes, bytes, bytes], most: int) -> None:
    one, other, third = data
    trees: tuple[Tree, ...] = ({b"x": File(one), b"y": {b"z": File(other)}}, File(third))
    with SearchedReader(Trickle(tar_of(*trees), most)) as searched:
        contents = read_contents(io.BufferedReader(searched), searched=searched)
    expected = (hashes_in(one) | hashes_in(other), hashes_in(third))
    for path, hashes in zip(PATHS, expected, strict=False):
        assert (contents.found or {}).get(path, frozenset()) == {h.decode() for h in hashes}


def test_the_targets_of_links_count_and_names_do_not() -> None:
    inside = {b"link": Link(PATHS[1].encode() + b"/lib"), NAMES[2].encode(): File(b"")}
    with SearchedReader(io.BytesIO(tar_of(inside))) as searched:
        contents = read_contents(io.BufferedReader(searched), searched=searched)
    assert contents.found == {PATHS[0]: frozenset({"b" * 32})}
    assert contents.links == {}


def test_links_outside_of_store_paths() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        add(archive, "./bin", Link(b"usr/bin"))
        add(archive, "/etc/x", Link(PATHS[0].encode()))
        add(archive, PATHS[0], {b"y": Link(b"z")})
    stream.seek(0)
    contents = read_contents(stream)
    assert contents.links == {"/bin": "usr/bin", "/etc/x": PATHS[0]}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_search, "_MOST_PENDING", 10)
    same, other = (f"/{letter * 32}-".encode() for letter in "ab")
    # A name that is repeated in a block is noted once; names that take turns are noted each time.
    for data, found in ((same * 9, {PATHS[0]: frozenset({"a" * 32})}), ((same + other) * 9, None)):
        with SearchedReader(io.BytesIO(tar_of(File(data)))) as searched:
            contents = read_contents(io.BufferedReader(searched), searched=searched)
        assert contents.found == found
        assert searched.has_given_up is (found is None)
        assert contents.store_paths == PATHS[:1]


def test_a_block_belongs_to_one_file() -> None:
    # The header of the second file is within a page of the link's, which names the same store path.
    link = Link(PATHS[2].encode())
    with SearchedReader(io.BytesIO(tar_of(link, File(PATHS[2].encode())))) as searched:
        contents = read_contents(io.BufferedReader(searched), searched=searched)
    assert contents.found == dict.fromkeys(PATHS[:2], frozenset({"c" * 32}))


def test_what_is_searched_is_not_copied() -> None:
    """Copying takes longer than searching."""
    buffer = bytearray(1 << 20)
    with SearchedReader(io.BytesIO(bytes(3 << 20))) as searched:
        tracemalloc.start()
        try:
            for _ in range(3):
                assert searched.readinto(buffer) == len(buffer)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 1 << 16
