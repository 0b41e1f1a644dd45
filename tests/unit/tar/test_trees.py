"""Trees by the native packer: the same bytes as in Python, and the same errors."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import PackError
from nixdock.native.library import PACKER_VARIABLE
from nixdock.system.buffers import BUFFER_SIZE
from nixdock.tar.header import Headers, MemberMeta
from nixdock.tar.trees import tree_pieces
from nixdock.tar.walk import walk
from nixdock.tar.write import member_pieces
from tests.unit.tar.file_trees import Tree, make, trees

STORE = b"/nix/store/"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACKER_VARIABLE, "native")


def pieces_of(store: Path, names: Sequence[bytes], meta: MemberMeta) -> Iterator[memoryview]:
    return tree_pieces(os.fsencode(store), STORE, names, Headers(meta))


def packed(store: Path, names: Sequence[bytes], meta: MemberMeta | None = None) -> bytes:
    return b"".join(pieces_of(store, names, meta or MemberMeta()))


def expected(store: Path, names: Sequence[bytes], meta: MemberMeta | None = None) -> bytes:
    """Return what the packer in Python makes of the trees."""
    headers = Headers(meta or MemberMeta())
    entries = (
        entry for name in names for entry in walk(os.fsencode(store) + b"/" + name, STORE + name)
    )
    return b"".join(member_pieces(entries, headers))


def check(store: Path, names: Sequence[bytes], meta: MemberMeta | None = None) -> None:
    assert packed(store, names, meta) == expected(store, names, meta)


@given(
    st.lists(trees, min_size=1, max_size=3), st.integers(0, 2**33 - 1), st.integers(0, 2**21 - 1)
)
def test_any_trees(forest: list[Tree], mtime: int, uid: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        names = [b"%d-tree" % number for number in range(len(forest))]
        for name, tree in zip(names, forest, strict=True):
            make(Path(directory, name.decode()), tree)
        check(Path(directory), names, MemberMeta(mtime, uid, 5, "someone", "some"))


def without_suffix(name: str) -> str:
    return name.partition("~nix~case~hack~")[0]


def test_names_that_nix_has_changed_because_of_their_case(tmp_path: Path) -> None:
    """They are in the places that their names in a NAR have."""
    hacked, plain = tmp_path / "hacked", tmp_path / "plain"
    hacked.mkdir()
    plain.mkdir()
    first, upper, lower = ({name: (name, 0o444)} for name in (b"1", b"2", b"3"))
    second = {b"E": upper, b"e~nix~case~hack~1": lower, b"f": b"e"}
    make(hacked / "tree", {b"first": first, b"second": second})
    make(plain / "tree", {b"first": first, b"second": {b"E": upper, b"e": lower, b"f": b"e"}})
    headers = Headers(MemberMeta())
    pieces = tree_pieces(os.fsencode(hacked), STORE, [b"tree"], headers, without_suffix)
    assert b"".join(pieces) == expected(plain, [b"tree"])


def failure_of_changed_names(directory: Path, *names: bytes) -> str:
    make(directory / "tree", dict.fromkeys(names, (b"x", 292)))
    headers = Headers(MemberMeta())
    pieces = tree_pieces(os.fsencode(directory), STORE, [b"tree"], headers, without_suffix)
    with pytest.raises(PackError) as caught:
        b"".join(pieces)
    return str(caught.value)


def test_two_files_whose_names_become_the_same(tmp_path: Path) -> None:
    message = failure_of_changed_names(tmp_path, b"a", b"a~nix~case~hack~1")
    # Which of them is found first is up to the file system.
    assert message.replace("~nix~case~hack~1", "") == (
        f"{tmp_path}/tree/a would have the same name as a file beside it in a layer"
    )


@pytest.mark.parametrize("name", ["~nix~case~hack~1", ".~nix~case~hack~1", "..~nix~case~hack~1"])
def test_changed_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    assert failure_of_changed_names(tmp_path, name.encode()) == (
        f"{tmp_path}/tree/{name} would have no name in a layer"
    )


def test_symlinks_of_systems_where_they_have_modes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("target")
    status = os.stat_result((0o120755, *os.lstat(tmp_path / "link")[1:]))
    really = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: status if b"/link" in path else really(path))
    (entry,) = walk(os.fsencode(tmp_path / "link"), b"/link")
    assert entry.mode == 0o777


@pytest.mark.parametrize(
    "meta", [MemberMeta(mtime=-1), MemberMeta(uid=2**40), MemberMeta(uname="é")]
)
def test_a_layer_whose_headers_are_all_extended(tmp_path: Path, meta: MemberMeta) -> None:
    make(tmp_path / "tree", {b"file": (b"x", 0o444)})
    check(tmp_path, [b"tree"], meta)


@pytest.mark.parametrize("size", [*range(510, 514), *range(MIB - 1537, MIB + 2, 511), 3 * MIB + 1])
def test_files_at_the_ends_of_buffers(tmp_path: Path, size: int) -> None:
    files = {b"a": (bytes(size), 0o444), b"b": (b"b" * (MIB - size % MIB), 0o444)}
    make(tmp_path / "tree", {**files, b"c": (b"c" * 700, 0o555), b"d": {}})
    check(tmp_path, [b"tree"])


@pytest.mark.parametrize("length", [*range(70, 120), 155, 156, 255])
def test_long_names_and_targets(tmp_path: Path, length: int) -> None:
    name = b"n" * length
    make(tmp_path / "tree", {name: {b"file": (b"", 0o444)}, b"link": b"t" * 9 * length, b"z": name})
    check(tmp_path, [b"tree"])


def test_roots_of_all_kinds(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    make(tmp_path / "empty", {})
    check(tmp_path, [b"pipe", b"file", b"link", b"empty", b"pipe", b"link"])
    assert packed(tmp_path, []) == b""


@pytest.mark.parametrize(
    "unusual",
    [
        {"é".encode(): (b"x" * 9, 0o444)},
        {b"\xff": (b"", 0o444), "￿".encode(): (b"", 0o444), "𐀀".encode(): (b"", 0o444)},
        {b"link": "zwölf".encode()},
        {b"link": b"\xfe"},
    ],
)
def test_trees_that_python_ends(tmp_path: Path, unusual: Tree) -> None:
    large = {b"file": (os.urandom(3 * MIB + 5), 0o444)}
    make(tmp_path / "one", {b"a": large, b"b": {b"c": {b"d": unusual}}, b"z": large})
    make(tmp_path / "two", {b"a": {b"d": (b"two", 0o555)}, b"b": large})
    make(tmp_path / "three", {b"a": unusual})
    check(tmp_path, [b"two", b"one", b"two", b"three", b"three", b"two"])


@pytest.mark.parametrize("depth", [126, 127, 128, 129, 200])
def test_deep_trees(tmp_path: Path, depth: int) -> None:
    tree: Tree = {b"file": (b"deep", 0o444)}
    for _ in range(depth):
        tree = {b"d": tree, b"e": (b"", 0o444)}
    make(tmp_path / "tree", tree)
    check(tmp_path, [b"tree", b"tree"])


@pytest.mark.parametrize("room", [2, 3])
def test_a_tree_that_is_deeper_than_files_may_be_open(tmp_path: Path, room: int) -> None:
    """The native packer keeps each directory open; the last that opens is one, or a file."""
    directory = tmp_path / "tree" / "a" / "b" / "c"
    directory.mkdir(parents=True)
    (directory / "file").write_text("x")
    (tmp_path / "tree" / "a" / "0").write_text("x")
    whole = expected(tmp_path, [b"tree"])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        # Descriptors that are free among those of the test's process don't count.
        last, highest = -1, max(map(int, os.listdir("/dev/fd")))
        while last <= highest:
            last = os.open(tmp_path, os.O_RDONLY)
            stack.callback(os.close, last)
        # The directory with the tree is open, too.
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 2 + room, limits[1]))
        assert packed(tmp_path, [b"tree"]) == whole


def test_a_file_that_is_too_large_for_a_ustar_header(tmp_path: Path) -> None:
    make(tmp_path / "tree", {b"a": (b"x", 0o444), b"b": (b"", 0o444)})
    os.truncate(tmp_path / "tree/b", 2**33)
    pieces = pieces_of(tmp_path, [b"tree"], MemberMeta())
    start = bytes(next(pieces)) + bytes(next(pieces))
    entries = walk(os.fsencode(tmp_path / "tree"), STORE + b"tree")
    others = member_pieces(entries, Headers(MemberMeta()))
    assert (bytes(next(others)) + bytes(next(others))).startswith(start[: 4 * 512 + MIB])


def test_many_files_in_a_directory(tmp_path: Path) -> None:
    make(tmp_path / "tree", {b"%d" % number: (b"", 0o444) for number in range(1000)})
    check(tmp_path, [b"tree"])


# Errors.


def failed(store: Path, names: Sequence[bytes] = (b"tree",)) -> PackError:
    with pytest.raises(PackError) as caught:
        packed(store, names)
    return caught.value


def both_fail(store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the message of the error, which is that of the packer in Python."""
    native = failed(store)
    monkeypatch.setenv(PACKER_VARIABLE, "python")
    python = failed(store)
    assert (str(native), native.path) == (str(python), python.path)
    return str(native)


def test_devices_and_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "tree", {b"a": (b"", 0o444), b"d": {}})
    monkeypatch.chdir(tmp_path / "tree/d")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        message = both_fail(tmp_path, monkeypatch)
    assert message.startswith(f"{tmp_path}/tree/d/socket is a device or a socket")


@pytest.mark.parametrize("name", [b".wh.file", b".wh.", b".wh..wh..opq"])
def test_names_of_whiteouts(tmp_path: Path, name: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "tree", {b"a": (b"", 0o444), b"d": {name: (b"", 0o444)}})
    assert both_fail(tmp_path, monkeypatch).startswith(f"{tmp_path}/tree/d/{name.decode()} ")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Let root be somebody who may not read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("name", ["file", "directory"])
def test_permissions_that_are_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = Path(directory)
        store.chmod(0o755)
        make(store / "tree", {b"file": (b"x", 0o444), b"directory": {}})
        (store / "tree").chmod(0o755)
        (store / "tree" / name).chmod(0)
        with as_nobody():
            message = both_fail(store, monkeypatch)
        assert message == f"can't read {store}/tree/{name}: Permission denied"
        (store / "tree" / name).chmod(0o755)


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    assert str(failed(tmp_path)) == f"{tmp_path}/tree vanished while its tree was read"
    assert str(failed(tmp_path / "store")) == f"{tmp_path}/store vanished while its tree was read"


def _swap(path: Path) -> None:
    """Replace a file or directory by a symlink to a copy of it."""
    copy = path.with_name(f"copy of {path.name}")
    path.rename(copy)
    path.symlink_to(copy)


def _become_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _become_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("b", Path.unlink, "vanished while its layer was packed"),
        ("c", shutil.rmtree, "vanished while its tree was read"),
        ("l", Path.unlink, "vanished while its tree was read"),
        ("b", _swap, "or a directory above it, became a symlink while its layer was packed"),
        ("c", _swap, "or a directory above it, became a symlink while its tree was read"),
        ("b", _become_pipe, os.strerror(errno.ESTALE)),
        ("b", _become_directory, os.strerror(errno.ESTALE)),
        ("a", lambda file: os.truncate(file, 2 * MIB), "shrank while its layer was packed: it had"),
        ("a", lambda file: os.truncate(file, 3 * MIB + 1), "grew while its layer was packed"),
    ],
)
def test_what_changes_while_it_is_packed(
    tmp_path: Path, name: str, change: Callable[[Path], object], message: str
) -> None:
    files = {b"a": (bytes(3 * MIB), 0o444), b"b": (b"b", 0o444), b"c": {b"d": (b"", 0o444)}}
    make(tmp_path / "tree", {**files, b"l": b"target"})
    pieces = pieces_of(tmp_path, [b"tree"], MemberMeta())
    # The directory is listed now, and its first file is being read.
    next(pieces)
    change(tmp_path / "tree" / name)
    with pytest.raises(PackError) as caught:
        list(pieces)
    assert str(caught.value).startswith(
        (f"{tmp_path}/tree/{name}", f"can't read {tmp_path}/tree/{name}")
    )
    assert message in str(caught.value)
    assert caught.value.path == f"{tmp_path}/tree/{name}"


def test_no_link_leads_out_of_a_directory_that_is_open(tmp_path: Path) -> None:
    """The files of an open directory are read, wherever its path leads by then."""
    files = {b"a": (bytes(3 * MIB), 0o444), b"b": (b"right", 0o444)}
    make(tmp_path / "tree", {b"d": files})
    make(tmp_path / "other", {b"b": (b"wrong", 0o444)})
    before = expected(tmp_path, [b"tree"])
    pieces = pieces_of(tmp_path, [b"tree"], MemberMeta())
    start = bytes(next(pieces))
    (tmp_path / "tree/d").rename(tmp_path / "elsewhere")
    (tmp_path / "tree/d").symlink_to(tmp_path / "other")
    assert start + b"".join(pieces) == before


def test_a_tree_that_changes_before_python_ends_it(tmp_path: Path) -> None:
    make(tmp_path / "tree", {b"a": (bytes(3 * MIB), 0o444), b"b": {"é".encode(): (b"", 0o444)}})
    pieces = pieces_of(tmp_path, [b"tree"], MemberMeta())
    next(pieces)
    (tmp_path / "tree/0").write_bytes(b"new" * 999)
    with pytest.raises(PackError, match="tree changed while its layer was packed"):
        list(pieces)


def test_nothing_stays_open(tmp_path: Path) -> None:
    """Neither a stream that ends, nor one that fails or is given up, keeps a file."""
    make(tmp_path / "tree", {b"d": {b"a": (bytes(BUFFER_SIZE * 2), 0o444), b".wh.x": (b"", 0o444)}})
    make(tmp_path / "good", {b"d": {b"a": (bytes(BUFFER_SIZE * 2), 0o444)}})
    before = os.listdir("/proc/self/fd")
    failed(tmp_path)
    packed(tmp_path, [b"good"])
    pieces = pieces_of(tmp_path, [b"good"], MemberMeta())
    next(pieces)
    assert len(os.listdir("/proc/self/fd")) > len(before)
    del pieces
    assert os.listdir("/proc/self/fd") == before
