from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nixdock.errors import StoreError
from nixdock.nix.nar import NarReader
from nixdock.nix.nar_entry import NarEntry
from nixdock.system.readers import ReadOnlyStream

from .nar_files import File, Link, Tree, dump, entry, node, string, strings, trees, write


class Dripping(ReadOnlyStream):
    """A stream that gives so many bytes at once, and counts what is asked for."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self._most = most
        self.largest = 0

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        self.largest = max(self.largest, len(view))
        return self._data.readinto(view[: self._most])


def read(data: bytes, most: int = 1 << 20) -> list[tuple[NarEntry, bytes]]:
    reader = NarReader(Dripping(data, most), "the NAR")
    return [(found, contents(reader, found)) for found in reader]


def contents(reader: NarReader, found: NarEntry) -> bytes:
    data = b""
    while piece := reader.read(found.size + 1):
        data += piece
    return data


def expected(tree: Tree, path: bytes = b"") -> Iterator[tuple[NarEntry, bytes]]:
    if isinstance(tree, File):
        yield NarEntry(path, "regular", tree.executable, len(tree.data)), tree.data
    elif isinstance(tree, Link):
        yield NarEntry(path, "symlink", target=tree.target), b""
    else:
        yield NarEntry(path, "directory"), b""
        for name, child in sorted(tree.items()):
            yield from expected(child, path + b"/" + name if path else name)


def among_others(tree: Tree) -> Tree:
    """Return a tree whose files are followed by more, as most are that are not in tests."""
    return {b"0": tree, b"1": File(bytes(999)), **(tree if isinstance(tree, dict) else {})}


@given(trees(any_bytes=True), st.sampled_from([1, 7, 1000, 1 << 20]))
def test_entries_are_those_of_the_tree(tree: Tree, most: int) -> None:
    assert read(dump(tree), most) == list(expected(tree))
    assert read(dump(among_others(tree)), most) == list(expected(among_others(tree)))


@pytest.mark.parametrize("most", [*range(700, 1500, 37), 1 << 20])
def test_symlinks_may_be_cut_anywhere(most: int) -> None:
    tree: Tree = {
        b"%03d" % size: {name: Link(b"t" * (size + 1)) for name in (b"a", b"b" * (size % 256 or 1))}
        for size in range(0, 600, 7)
    } | {b"%d-link" % size: Link(b"t" * size) for size in (1, 2, 7, 8, 9, 300, 4096)}
    assert read(dump(tree), most) == list(expected(tree))


@pytest.mark.parametrize("most", [*range(4090, 20_000, 731), 30_000])
def test_pieces_of_any_size_are_joined_where_an_entry_crosses_them(most: int) -> None:
    tree: Tree = {
        b"%03d" % size: {
            b"f": File(bytes([size % 251]) * (size * size % 9999)),
            b"n" * 255: Link(b"t"),
        }
        for size in range(200)
    }
    data = dump(tree)
    assert read(data, most) == list(expected(tree))
    for ending, problem in (
        (b"x", f"not a valid NAR: at byte {len(data)}, other bytes follow"),
        (b"", f"truncated NAR: it ends after {len(data) - 1} bytes"),
    ):
        with pytest.raises(StoreError, match=problem):
            read(data + ending if ending else data[:-1], most)


@given(trees(any_bytes=True))
def test_contents_may_be_skipped_or_read_in_part(tree: Tree) -> None:
    reader = NarReader(io.BytesIO(dump(tree)), "the NAR")
    for i, ((wanted, data), found) in enumerate(zip(expected(tree), reader, strict=True)):
        assert found == wanted
        if i % 2:
            assert data[:3].startswith(reader.read(3))


@pytest.mark.nix
@settings(max_examples=30)
@given(tree=trees(any_bytes=True))
def test_nix_dumps_the_same_bytes(tree: Tree) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "tree")
        write(tree, os.fsencode(path))
        data = subprocess.run(
            ["nix-store", "--dump", path], check=True, stdout=subprocess.PIPE
        ).stdout
        subprocess.run(["chmod", "-R", "u+w", directory], check=True)
    assert data == dump(tree)
    assert read(data) == list(expected(tree))


@given(trees(any_bytes=True), st.data())
def test_a_truncated_nar_is_an_error(tree: Tree, data: st.DataObject) -> None:
    nar = dump(tree)
    size = data.draw(st.integers(0, len(nar) - 1))
    with pytest.raises(StoreError) as caught:
        read(nar[:size])
    assert str(caught.value) == f"the NAR is a truncated NAR: it ends after {size} bytes"
    assert caught.value.place == "the NAR"


@given(trees(any_bytes=True), st.data())
def test_no_other_bytes_are_read_as_the_same_tree(tree: Tree, data: st.DataObject) -> None:
    tree = among_others(tree)
    nar = dump(tree)
    at = data.draw(st.integers(0, len(nar) - 1))
    changed = nar[:at] + bytes([nar[at] ^ data.draw(st.integers(1, 255))]) + nar[at + 1 :]
    try:
        found = read(changed)
    except StoreError:
        return
    assert found != list(expected(tree))


ROOT = strings("nix-archive-1")
REGULAR = strings("(", "type", "regular")
DIRECTORY = strings("(", "type", "directory")
EMPTY = File(b"")


def file(name: bytes) -> bytes:
    return entry(name, node(EMPTY))


def directory(*entries: bytes) -> bytes:
    return ROOT + DIRECTORY + b"".join(entries) + strings(")")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (strings("nix-archive-2"), "at byte 0, expected the start of a NAR"),
        (b"\x7fELF" + bytes(100), "at byte 0, expected the start of a NAR"),
        (ROOT + strings("{", "type"), "at byte 24, expected a node with its type"),
        (
            ROOT + strings("(", "type", "fifo") + strings(")"),
            "at byte 56, expected a regular file, a directory or a symlink",
        ),
        (dump(EMPTY) + b"\0", "at byte 112, other bytes follow its end"),
        (dump(EMPTY) + dump(EMPTY), "at byte 112, other bytes follow its end"),
        (
            ROOT + REGULAR + strings("contents", "abc", "contents", "abc", ")"),
            "at byte 104, expected the end of the root",
        ),
        (ROOT + REGULAR + strings(")"), "at byte 72, expected the contents of a file"),
        (
            ROOT + REGULAR + strings("executable", "yes", "contents", "", ")"),
            "at byte 72, expected the contents of a file",
        ),
        (
            ROOT + REGULAR + strings("contents") + (1).to_bytes(8, "little") + b"a\0\0\0\0\0\1\0",
            "at byte 97, there is padding that is not zero",
        ),
        (
            ROOT + REGULAR + strings("contents") + b"\xff" * 8,
            "at byte 96, a file in it is too large",
        ),
        (directory(file(b"")), "at byte 136, '' can't be the name of a file"),
        (directory(file(b".")), "at byte 144, '.' can't be the name of a file"),
        (directory(file(b"..")), "at byte 144, '..' can't be the name of a file"),
        (directory(file(b"a/b")), "at byte 144, 'a/b' can't be the name of a file"),
        (directory(file(b"a\0b")), r"at byte 144, 'a\\x00b' can't be the name of a file"),
        (directory(file(b"A"), file(b"a/b")), "at byte 328, 'a/b' can't be the name of a file"),
        (
            directory(file(b"A"), file(b"a\0b")),
            r"at byte 328, 'a\\x00b' can't be the name of a file",
        ),
        (
            directory(file(b"A"), entry(b"a", strings("(", "type", "fifo", ")"))),
            "at byte 376, expected a regular file, a directory or a symlink",
        ),
        (
            directory(file(b"A"), file(b"a" * 1025)),
            "at byte 320, the name of a file has 1025 bytes, more than 1024",
        ),
        (
            directory(file(b"b"), file(b"a")),
            "at byte 328, the names in the root are not in order: a after b",
        ),
        (
            directory(file(b"a"), file(b"a")),
            "at byte 328, the names in the root are not in order: a after a",
        ),
        (
            directory(entry(b"d", node({b"b": EMPTY})[:-16] + file(b"B\n") + strings(")"))),
            r"at byte 464, the names in d are not in order: B\n after b",
        ),
        (
            directory(file(b"a" * 1025)),
            "at byte 136, the name of a file has 1025 bytes, more than 1024",
        ),
        (
            ROOT + strings("(", "type", "symlink", "target") + string(b"") + strings(")"),
            "at byte 96, the target of a symlink is empty, or has a NUL in it",
        ),
        (
            ROOT + strings("(", "type", "symlink", "target") + string(b"a" * 4097) + strings(")"),
            "at byte 96, the target of a symlink has 4097 bytes, more than 4096",
        ),
        (
            directory(strings("entry", "(", "node")),
            "at byte 80, expected the end of a directory, or its next entry",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_nix_does_not_write_is_an_error(data: bytes, problem: str) -> None:
    # What follows the problem does not matter, nor how much of it there is.
    for more in (b"", bytes(1000)):
        with pytest.raises(StoreError) as caught:
            read(data + more)
        assert str(caught.value) == f"the NAR is not a valid NAR: {problem}"


def test_zeros_in_one_place_do_not_make_up_for_those_in_another() -> None:
    link = strings("(", "type", "symlink", "target")
    for zeros, others, problem in (
        (4, 8, "at byte 323, there is padding that is not zero"),
        (6, 6, "at byte 328, expected the node of a directory's entry"),
    ):
        name = (3).to_bytes(8, "little") + b"abc" + bytes(zeros)
        target = (1).to_bytes(8, "little") + b"t" + bytes(others)
        start = strings("entry", "(", "name") + name + strings("node") + link + target
        data = directory(file(b"A"), start + strings(")", ")"), file(b"b" * 500))
        with pytest.raises(StoreError, match=problem):
            read(data)


def test_a_deep_tree_needs_no_deep_stack_and_has_a_limit() -> None:
    tree = node(EMPTY)
    for _ in range(2000):
        tree = DIRECTORY + entry(b"d", tree) + strings(")")
    assert len(read(ROOT + tree)) == 2001
    endless = ROOT + (DIRECTORY + strings("entry", "(", "name", "d", "node")) * 10_000
    with pytest.raises(StoreError, match="a path in it has more than 16384 bytes"):
        read(endless)


def test_a_large_file_does_not_take_memory() -> None:
    size = 50_000_003
    start = ROOT + REGULAR + strings("contents") + size.to_bytes(8, "little")
    stream = Dripping(start + bytes(size + -size % 8) + strings(")"), 1 << 20)
    (found,) = (each for each in NarReader(stream, "the NAR"))
    assert found.size == size
    assert stream.largest <= 1 << 20
