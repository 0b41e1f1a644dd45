"""The native packer makes the same members of a NAR as the packer in Python."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nixdock.errors import CacheError, NixdockError
from nixdock.native.library import PACKER_VARIABLE
from nixdock.native.nar import NarStream
from nixdock.nix.store_path import StorePath
from nixdock.stores.nar_pieces import nar_pieces
from nixdock.stores.verified_nar import VerifiedNar
from nixdock.system.readers import ReadOnlyStream
from nixdock.tar.header import Headers, MemberMeta
from tests.unit.nix.nar_files import File, Link, Tree, dump, entry, node, strings, trees

PATH = StorePath.parse(f"/nix/store/{'a' * 32}-tree")
USER = MemberMeta(mtime=12345, uid=1000, gid=100, uname="", gname="users")
# Members of the last two need extended headers, which the native packer does not know.
OWNERS = (MemberMeta(), USER, MemberMeta(uid=2**30), MemberMeta(uname="é"))
SIZES = (64, 300, 1500, 5000, 1 << 20)


class Pieces(ReadOnlyStream):
    """A stream of pieces as they come from a cache, each in memory of its own."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__()
        self._pieces = iter([data[at : at + size] for at in range(0, len(data), size)])

    def read(self, _size: int = -1, /) -> bytes:
        return next(self._pieces, b"")


def failure(message: str) -> CacheError:
    return CacheError(message, place="the cache")


def packed(
    nar: bytes, packer: str, size: int = 1 << 20, meta: MemberMeta = USER
) -> bytes | tuple[type, str]:
    """Return the members of a NAR that comes in pieces of `size` bytes, or what is wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PACKER_VARIABLE, packer)
        reader = VerifiedNar(Pieces(nar, size), None, failure)
        try:
            # Pieces may be kept: none is used again for others.
            pieces = list(nar_pieces(reader, PATH, Headers(meta)))
        except NixdockError as error:
            return type(error), str(error)
    return b"".join(pieces)


def read_in_python(nar: bytes, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the paths of the entries that the native packer leaves to Python."""
    found = []
    next_entry = VerifiedNar.next_entry

    def noted(self: VerifiedNar) -> object:
        entry = next_entry(self)
        if entry is not None:
            found.append(entry.path)
        return entry

    monkeypatch.setattr(VerifiedNar, "next_entry", noted)
    packed(nar, "native")
    return found


@given(trees(any_bytes=True), st.sampled_from(OWNERS), st.sampled_from(SIZES))
def test_both_packers_agree(tree: Tree, meta: MemberMeta, size: int) -> None:
    nar = dump(tree)
    assert packed(nar, "native", size, meta) == packed(nar, "python", size, meta)


@settings(max_examples=300)
@given(trees(any_bytes=True), st.data())
def test_both_packers_say_the_same_of_damaged_nars(tree: Tree, data: st.DataObject) -> None:
    nar = bytearray(dump({b"a": File(b"x"), b"b": tree, b"c": Link(b"y")}))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(nar) - 1))
        match data.draw(st.sampled_from(["other", "zero", "cut", "insert", "delete", "double"])):
            case "other":
                nar[at] = data.draw(st.integers(0, 255))
            case "zero":
                nar[at] = 0
            case "cut":
                del nar[at + 1 :]
            case "insert":
                nar[at:at] = data.draw(st.sampled_from([bytes(8), b"/", strings(")"), b"\xff" * 8]))
            case "delete":
                del nar[at + 1 : at + 9]
            case _:
                nar[at:at] = nar[max(0, at - 64) : at]
    size = data.draw(st.sampled_from([64, 1000, 1 << 20]))
    assert packed(bytes(nar), "native", size) == packed(bytes(nar), "python", size)


def files_of_many_sizes() -> Iterator[tuple[bytes, Tree]]:
    sizes = [0, 1, 7, 8, 9, 511, 512, 513, 5000, *(1 << bits for bits in range(13, 20))]
    for size in sizes:
        for near in (size - 1, size, size + 1):
            yield b"file-%07d" % max(near, 0), File(b"x" * max(near, 0), executable=near % 2 == 0)


@pytest.mark.parametrize("size", [100, 512, 999, 4096, 65_537, 1 << 20])
def test_files_of_many_sizes_in_pieces_of_many_sizes(size: int) -> None:
    tree = {b"bin": {b"link": Link(b"../file")}, **dict(files_of_many_sizes()), b"z": {}}
    nar = dump(tree)
    expected = packed(nar, "python")
    assert isinstance(expected, bytes)
    assert packed(nar, "native", size) == expected


def test_long_names_and_targets() -> None:
    names = [b"n" * length for length in (98, 99, 100, 101, 254, 255)]
    leaf = {name: File(b"data") for name in names} | {b"l" * 99: Link(b"t" * 3000)}
    tree: Tree = leaf
    for name in names:
        tree = {name: tree, b"link": Link(b"t" * len(name))}
    nar = dump(tree)
    expected = packed(nar, "python")
    assert isinstance(expected, bytes)
    for size in (300, 2000, 1 << 20):
        assert packed(nar, "native", size) == expected


@pytest.mark.parametrize("depth", [126, 127, 128, 129, 300])
def test_deep_trees(depth: int) -> None:
    tree: Tree = {b"file": File(b"data"), b"z": Link(b"target")}
    for _ in range(depth):
        tree = {b"a": File(b""), b"d": tree, b"e": File(b"behind")}
    nar = dump(tree)
    expected = packed(nar, "python")
    assert isinstance(expected, bytes)
    assert packed(nar, "native") == expected


class NeverRead(list[tuple[bytes, bytes]]):
    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        raise AssertionError("the paths of many directories are read")


def test_deep_trees_take_no_more_time_than_in_python() -> None:
    """Each entry below many directories is tried again, so that must not take time for each."""
    header = Headers(USER).template
    assert header is not None
    native = NarStream(header, PATH.encode())
    deep = NeverRead((b"/".join([b"d"] * depth), b"d") for depth in range(129))
    assert not native.go_on(deep, at_entry=True, padding=0)
    assert native.go_on(deep[:128], at_entry=True, padding=0)


def test_more_members_than_a_buffer_holds() -> None:
    """Links take five times as many bytes in a tar."""
    nar = dump({b"%05d" % number: Link(b"x") for number in range(9000)})
    assert packed(nar, "native") == packed(nar, "python")


def test_buffers_that_are_nearly_full() -> None:
    """The largest headers, and contents that end near the end of a buffer."""
    directory = b"d" * 255
    for rest in range(0, 20_000, 3001):
        tree: Tree = {
            b"a": File(bytes((1 << 20) - rest - 600_000)),
            b"b": {b"%d" % number: Link(b"t" * 4000) for number in range(60)},
            b"c": File(bytes(200_000)),
        }
        for _ in range(14):
            tree = {directory: tree}
        nar = dump(tree)
        expected = packed(nar, "python")
        assert isinstance(expected, bytes)
        assert packed(nar, "native") == expected


@pytest.mark.parametrize(
    ("tree", "left"),
    [
        # The root is the only entry that must be read in Python.
        ({b"a": File(b"x"), b"b": {b"c": Link(b"y"), b"d": {}}, b"e": File(bytes(300_000))}, []),
        ({b"a": {"é".encode(): {b"x": File(b"")}, b"b": File(b"")}}, ["a/é", "a/é/x"]),
        ({"é".encode(): Link(b"x"), b"a": Link("é".encode())}, ["a", "é"]),
    ],
)
def test_what_is_left_to_python(
    tree: Tree, left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [path.decode() for path in read_in_python(dump(tree), monkeypatch)] == ["", *left]


def test_many_unusual_entries_are_not_as_many_pieces() -> None:
    links = {b"%05d" % number: Link("é".encode()) for number in range(3000)}
    names = {f"é{number:05}".encode(): File(b"x") for number in range(3000)}
    for tree in (links, names):
        reader = VerifiedNar(Pieces(dump(tree), 1 << 20), None, failure)
        assert len(list(nar_pieces(reader, PATH, Headers(USER)))) < 10


@pytest.mark.parametrize("packer", ["native", "python"])
def test_nars_that_are_given_up_are_forgotten_at_once(
    packer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have some megabytes each, and cycles are not collected for a while."""
    monkeypatch.setenv(PACKER_VARIABLE, packer)
    gc.collect()
    gc.disable()
    try:
        reader = VerifiedNar(Pieces(dump({b"a": File(b"x"), b"b": {}}), 64), None, failure)
        pieces = nar_pieces(reader, PATH, Headers(USER))
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
        forgotten = weakref.ref(reader)
        del reader, pieces
        assert forgotten() is None
    finally:
        gc.enable()


def test_after_the_end_comes_nothing() -> None:
    reader = VerifiedNar(Pieces(dump({b"a": {}}), 64), None, failure)
    assert [entry.path for entry in reader] == [b"", b"a"]
    assert reader.next_entry() is None
    assert [*reader] == []


@pytest.mark.parametrize(
    "names",
    [
        ("\ufffd".encode(), b"\xff"),
        (b"a", "\ufffd".encode(), b"\xff"),
        # One that is ASCII comes after none that is not.
        (b"\xc3", b"\xc3\xa9"),
    ],
)
def test_names_in_another_order(names: tuple[bytes, ...]) -> None:
    nar = dump({name: File(b"") for name in names})
    assert packed(nar, "native") == packed(nar, "python")


def test_files_that_are_no_directory() -> None:
    for tree in (File(b"data" * 100_000, executable=True), Link(b"target")):
        nar = dump(tree)
        expected = packed(nar, "python")
        assert isinstance(expected, bytes)
        assert packed(nar, "native") == expected


def test_the_second_of_two_entries_with_one_name_is_refused() -> None:
    twice = entry(b"a", node(File(b""))) * 2
    nar = strings("nix-archive-1", "(", "type", "directory") + twice + strings(")")
    refused = packed(nar, "native")
    assert refused == packed(nar, "python")
    problem = "at byte 328, the names in the root are not in order: a after a"
    assert refused == (CacheError, f"what was sent is not a valid NAR: {problem}")


def test_names_of_whiteouts_are_refused() -> None:
    nar = dump({b"lib": {b"a": File(b""), b".wh.x": File(b"")}})
    refused = packed(nar, "native")
    assert refused == packed(nar, "python")
    assert "has the name of a whiteout" in str(refused)
