"""The tar writer: its bytes equal those of CPython's tarfile, and bad files are refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nixdock.errors import PackError
from nixdock.tar.fields import BLOCK, RECORD, padded_size
from nixdock.tar.header import Entry, Headers, MemberMeta
from nixdock.tar.kinds import Kind
from nixdock.tar.walk import walk
from nixdock.tar.write import write_tar
from tests.unit.tar.file_trees import Tree, make, names, targets, trees

ROOT = "/nix/store/root"


def packed(source: Path, name: str = ROOT, meta: MemberMeta | None = None) -> bytes:
    """Return the archive that nixdock writes for the tree at `source`."""
    out = io.BytesIO()
    headers = Headers(meta or MemberMeta())
    size = write_tar(walk(os.fsencode(source), os.fsencode(name)), headers, out.write)
    assert size == out.tell()
    return out.getvalue()


def below(directory: Path) -> Iterator[Path]:
    """Yield the same as `rglob`, which fails for long symlinks before Python 3.11.4."""
    for parent, directories, files in os.walk(directory):
        yield from (Path(parent, name) for name in directories + files)


def by_tarfile(source: Path, name: str = ROOT, meta: MemberMeta | None = None) -> bytes:
    """Return the archive that dockerTools writes for it, with `tarfile` and pathlib."""
    meta = meta or MemberMeta()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w|", encoding="utf-8") as tar:
        for path in sorted([source] if source.is_symlink() else [source, *below(source)]):
            tar.inodes = {}  # type: ignore[attr-defined]  # every hard link in full
            member = tar.gettarinfo(path)
            member.name = name + str(path)[len(str(source)) :]
            member.mtime, member.uid, member.gid = meta.mtime, meta.uid, meta.gid
            member.uname, member.gname = meta.uname, meta.gname
            if member.isreg():
                with path.open("rb") as stream:
                    tar.addfile(member, stream)
            else:
                tar.addfile(member)
    return out.getvalue()


owners = st.one_of(
    st.just("root"), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
)
numbers = st.one_of(st.integers(0, 70000), st.integers(8**7 - 2, 2**32 - 2))
times = st.one_of(st.just(1), st.integers(0, 2**31), st.integers(8**11 - 2, 8**12))
metas = st.builds(MemberMeta, mtime=times, uid=numbers, gid=numbers, uname=owners, gname=owners)


@given(tree=trees, meta=metas)
@settings(max_examples=80, deadline=None)
def test_bytes_equal_those_of_tarfile(tree: Tree, meta: MemberMeta) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "t"
        make(source, tree)
        assert packed(source, meta=meta) == by_tarfile(source, meta=meta)


sizes = st.one_of(st.integers(0, 10**6), st.integers(8**11 - 2, 8**12))


@given(
    name=st.one_of(names, st.lists(names, min_size=2, max_size=4).map(b"/".join)),
    kind=st.sampled_from([Kind.FILE, Kind.SYMLINK, Kind.DIRECTORY, Kind.FIFO]),
    mode=st.integers(0, 0o7777),
    size=sizes,
    target=targets,
    meta=metas,
)
@settings(max_examples=300, deadline=None)
def test_headers_equal_those_of_tarfile(
    name: bytes, kind: bytes, mode: int, size: int, target: bytes, meta: MemberMeta
) -> None:
    slash = b"/" if kind == Kind.DIRECTORY else b""
    entry = Entry(
        b"/" + name + slash,
        kind,
        mode,
        size if kind == Kind.FILE else 0,
        target if kind == Kind.SYMLINK else b"",
    )
    member = tarfile.TarInfo("/" + name.decode("utf-8", "surrogateescape"))
    member.type, member.mode, member.size = kind, mode, entry.size
    member.linkname = entry.target.decode("utf-8", "surrogateescape")
    member.mtime, member.uid, member.gid = meta.mtime, meta.uid, meta.gid
    member.uname, member.gname = meta.uname, meta.gname
    headers = Headers(meta)
    expected = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    assert headers.encode(entry) == expected
    assert headers.encode(entry) == expected, "the second time, with cached parts"
    assert headers.member_size(entry) == len(expected) + -(-entry.size // BLOCK) * BLOCK


@pytest.mark.parametrize("length", [99, 100, 101, 255, 256, 257, 600])
@pytest.mark.parametrize("letter", ["n", "ö", "\udcff"])
def test_names_and_targets_around_the_limits(tmp_path: Path, length: int, letter: str) -> None:
    text = letter * (length // len(letter.encode("utf-8", "surrogateescape")))
    source = tmp_path / "t"
    source.symlink_to(text)
    assert packed(source, "/" + text[1:]) == by_tarfile(source, "/" + text[1:])


def test_no_extended_header_where_none_is_needed(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"a": (b"x", 0o444), b"l": b"a"})
    data = packed(tmp_path / "t")
    assert len(data) == RECORD
    assert b"PaxHeader" not in data


def test_a_header_of_8_gib(tmp_path: Path) -> None:
    file = tmp_path / "huge"
    with file.open("wb") as stream:
        stream.truncate(8 << 30)
    (entry,) = walk(os.fsencode(file), b"/huge")
    header = Headers(MemberMeta()).encode(entry)
    assert b"19 size=8589934592\n" in header
    assert Headers(MemberMeta()).member_size(entry) == len(header) + (8 << 30)
    member = tarfile.TarInfo("/huge")
    member.size, member.mode, member.mtime = 8 << 30, entry.mode, 1
    member.uname = member.gname = "root"
    assert header == member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def test_a_large_sparse_file_is_written_in_full(tmp_path: Path) -> None:
    size = (200 << 20) + 1
    file = tmp_path / "large"
    with file.open("wb") as stream:
        stream.truncate(size)
        stream.seek(size - 3)
        stream.write(b"end")
    (entry,) = walk(os.fsencode(file), b"/large")
    digest = hashlib.sha256()
    written = write_tar([entry], Headers(MemberMeta()), digest.update)
    header = Headers(MemberMeta()).encode(entry)
    expected = hashlib.sha256(header)
    expected.update(bytes(size - 3))
    expected.update(b"end")
    expected.update(bytes(written - len(header) - size))
    assert written == padded_size(Headers(MemberMeta()).member_size(entry))
    assert digest.digest() == expected.digest()


# The sizes around those at which the writer changes its method; its buffer has 1 MiB.
@pytest.mark.parametrize("size", [1, 511, 512, 513, 2**20 - 1024, 2**20 - 1023, 2**20, 3 * 2**20])
def test_file_sizes_around_the_buffer(tmp_path: Path, size: int) -> None:
    data = hashlib.shake_256(b"%d" % size).digest(size)
    make(tmp_path / "t", {b"a": (b"before", 0o444), b"b": (data, 0o444), b"c": (b"after", 0o444)})
    assert packed(tmp_path / "t") == by_tarfile(tmp_path / "t")


def test_siblings_have_the_order_of_pathlib(tmp_path: Path) -> None:
    leaf = (b"", 0o444)
    tree = {b"a-b": leaf, b"a": {b"z": leaf, b"A": leaf}, b"a.b": leaf, b"\xff": leaf, b"B": leaf}
    tree |= {"é".encode(): leaf, "\U00010000".encode(): leaf, "\uffff".encode(): leaf}
    source = tmp_path / "t"
    make(source, tree)
    names = [e.name.rstrip(b"/") for e in walk(os.fsencode(source), os.fsencode(source))]
    assert names == [os.fsencode(path) for path in sorted([source, *source.rglob("*")])]
    assert names[1:7] == [
        os.fsencode(source) + b"/" + n for n in (b"B", b"a", b"a/A", b"a/z", b"a-b", b"a.b")
    ]


def test_size_is_known_before_reading(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"a": (b"x" * 700, 0o444), b"n" * 120: (b"", 0o444), b"d": {}})
    entries = list(walk(os.fsencode(tmp_path / "t"), b"/t"))
    headers = Headers(MemberMeta())
    assert padded_size(sum(map(headers.member_size, entries))) == write_tar(
        entries, headers, lambda view: None
    )


def test_an_archive_without_members() -> None:
    out = io.BytesIO()
    assert write_tar([], Headers(MemberMeta()), out.write) == RECORD
    assert out.getvalue() == bytes(RECORD)


# Reading back.

READ_BACK: Tree = {
    b"bin": {b"tool": (b"program", 0o555), b"again": 0, b"suid": (b"s", 0o4755)},
    b"n" * 150: (b"long", 0o444),
    b"deep": {b"d" * 200: {b"e" * 200: (b"deeper", 0o444)}},
    "größe".encode(): (b"text", 0o444),
    b"latin-\xe9": (b"bytes", 0o444),
    b"empty": (b"", 0o644),
    b"directory": {},
    b"link": b"bin/tool",
    b"long-link": b"/nix/store/" + b"t" * 200,
    "link-é".encode(): "ziel-ü".encode(),
    b"large": (b"0123456789abcdef" * 100_000, 0o444),
}


def listing(directory: Path) -> dict[bytes, tuple[int, int, bytes]]:
    """Return mode, mtime and contents or target of all files at and below a directory."""
    found = {}
    for path in [directory, *directory.rglob("*")]:
        info = path.lstat()
        content = b""
        if stat.S_ISLNK(info.st_mode):
            content = os.fsencode(os.readlink(path))
        elif stat.S_ISREG(info.st_mode):
            content = path.read_bytes()
        name = os.fsencode(path)[len(os.fsencode(directory)) :]
        found[name] = (info.st_mode, int(info.st_mtime), content)
    return found


def with_time(directory: Path, seconds: int) -> None:
    """Set the mtime of all files at and below a directory."""
    for path in [*directory.rglob("*"), directory]:
        os.utime(path, (seconds, seconds), follow_symlinks=False)


def run(program: str, package: str, *arguments: str | Path) -> None:
    """Run a program that reads tars; fail if it is missing."""
    found = shutil.which(program)
    if found is None:
        pytest.fail(f"{program} is not installed; on Debian: apt-get install {package}")
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [found, *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")


@pytest.mark.tools
@pytest.mark.parametrize(("program", "package"), [("tar", "tar"), ("bsdtar", "libarchive-tools")])
def test_other_tars_can_read_it(tmp_path: Path, program: str, package: str) -> None:
    source = tmp_path / "t"
    make(source, READ_BACK)
    file = tmp_path / "t.tar"
    file.write_bytes(packed(source, meta=MemberMeta(mtime=86400)))
    (tmp_path / "out").mkdir()
    run(program, package, "-x", "-p", "-f", file, "-C", tmp_path / "out")
    with_time(source, 86400)
    assert listing(Path(f"{tmp_path}/out{ROOT}")) == listing(source)


@pytest.mark.tools
def test_umoci_can_read_it(tmp_path: Path) -> None:
    path = f"/nix/store/{'a' * 32}-t"
    source = Path(f"{tmp_path}/root{path}")
    source.parent.mkdir(parents=True)
    make(source, READ_BACK)
    (tmp_path / "graph.json").write_text(
        json.dumps([{"path": path, "narSize": 1, "references": []}])
    )
    spec = {
        "version": 1,
        "name": "t",
        "closure": {"graph": "graph.json"},
        "store": {"root": str(tmp_path / "root")},
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    subprocess.run(
        [
            *(sys.executable, "-m", "nixdock", "build", "-q", tmp_path / "spec.json"),
            *("--format", "oci-layout", "-o", tmp_path / "layout"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    image = f"--image={tmp_path}/layout:latest"
    run("umoci", "umoci", "unpack", *rootless, image, tmp_path / "bundle")
    with_time(source, 1)
    assert listing(Path(f"{tmp_path}/bundle/rootfs{path}")) == listing(source)


# Errors.

Change = Callable[[Path], None]


def _vanish(file: Path) -> None:
    file.unlink()


def _shrink(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def _empty(file: Path) -> None:
    os.truncate(file, 0)


def _grow(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"+")


def _become_link(file: Path) -> None:
    copy = file.with_name("copy")
    file.rename(copy)
    file.symlink_to(copy)


def _become_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("size", [0, 10, 3 << 20])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_vanish, "vanished while its layer was packed"),
        (_shrink, "shrank while its layer was packed"),
        (_empty, "shrank while its layer was packed"),
        (_grow, "grew while its layer was packed"),
        (_become_link, "or a directory above it, became a symlink while its layer was packed"),
        (_become_directory, "can't read .*: Is a directory"),
    ],
)
def test_a_file_that_changes_after_the_walk(
    tmp_path: Path, size: int, change: Change, message: str
) -> None:
    if size == 0 and change in {_shrink, _empty}:
        return
    file = tmp_path / "t" / "file"
    make(tmp_path / "t", {b"file": (bytes(size), 0o644), b"z": (b"z", 0o444)})
    entries = list(walk(os.fsencode(tmp_path / "t"), b"/t"))
    change(file)
    with pytest.raises(PackError, match=message) as caught:
        write_tar(entries, Headers(MemberMeta()), lambda view: None)
    assert str(file) in str(caught.value)
    assert caught.value.path == str(file)


@pytest.mark.parametrize(("change", "word"), [(_empty, "shrank"), (_grow, "grew")])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: Change, word: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(3 << 20))
    written = 0

    def write(view: memoryview | bytes) -> None:
        nonlocal written
        written += len(view)
        if len(view) == 1 << 20 and written < 2 << 20:
            change(file)

    with pytest.raises(PackError, match=f"{file} {word}"):
        write_tar(walk(os.fsencode(file), b"/file"), Headers(MemberMeta()), write)


@pytest.mark.parametrize("size", [0, 10, 3 << 20])
def test_a_file_that_can_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    make(tmp_path / "t", {b"file": (bytes(size), 0o644)})
    entries = list(walk(os.fsencode(tmp_path / "t"), b"/t"))

    def refuse(path: bytes) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("nixdock.tar.write.open_file", refuse)
    with pytest.raises(PackError, match=f"can't read {tmp_path}/t/file: Permission denied"):
        write_tar(entries, Headers(MemberMeta()), lambda view: None)


def test_a_directory_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "t", {b"d": {}})

    def refuse(directory: int) -> None:
        raise PermissionError(13, "Permission denied", directory)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PackError, match=f"can't read {tmp_path}/t: Permission denied"):
        list(walk(os.fsencode(tmp_path / "t"), b"/t"))


def _swap(directory: Path) -> Path:
    """Replace a directory by a symlink to another one with the same files."""
    elsewhere = directory.parent.parent / "elsewhere"
    shutil.copytree(directory, elsewhere)
    shutil.rmtree(directory)
    directory.symlink_to(elsewhere)
    return directory


@pytest.mark.parametrize("size", [0, 10, 3 << 20])
def test_a_directory_that_becomes_a_link_after_the_walk(tmp_path: Path, size: int) -> None:
    make(tmp_path / "t", {b"d": {b"file": (bytes(size), 0o644)}})
    entries = list(walk(os.fsencode(tmp_path / "t"), b"/t"))
    directory = _swap(tmp_path / "t/d")
    message = f"{directory}/file, or a directory above it, became a symlink while its layer was"
    with pytest.raises(PackError, match=message):
        write_tar(entries, Headers(MemberMeta()), lambda view: None)


def test_a_directory_that_becomes_a_link_during_the_walk(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"d": {b"file": (b"", 0o644)}})
    entries = walk(os.fsencode(tmp_path / "t"), b"/t")
    assert [next(entries).name, next(entries).name] == [b"/t/", b"/t/d/"]
    directory = _swap(tmp_path / "t/d")
    # Of the path of a directory, Linux says that it is not one.
    message = f"{directory}.* (became a symlink while its tree was read|Not a directory)"
    with pytest.raises(PackError, match=message):
        list(entries)


def test_a_tree_that_is_reached_through_a_link(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"a": {b"file": (b"x", 0o644)}})
    (tmp_path / "link").symlink_to(tmp_path / "t")
    direct, linked = io.BytesIO(), io.BytesIO()
    write_tar(walk(os.fsencode(tmp_path / "t/a"), b"/a"), Headers(MemberMeta()), direct.write)
    write_tar(walk(os.fsencode(tmp_path / "link/a"), b"/a"), Headers(MemberMeta()), linked.write)
    assert linked.getvalue() == direct.getvalue()


def test_a_tree_with_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "t", {b"file": (b"x", 0o644)})
    monkeypatch.chdir(tmp_path)
    for path in (b"t", b"./t", b"t/"):
        sources = [entry.source for entry in walk(path, b"/t")]
        assert sources == [os.fsencode(tmp_path / "t"), os.fsencode(tmp_path / "t/file")]


def test_a_directory_that_vanishes_during_the_walk(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"a": {b"b": (b"", 0o444)}})
    entries = walk(os.fsencode(tmp_path / "t"), b"/t")
    assert [next(entries).name, next(entries).name] == [b"/t/", b"/t/a/"]
    shutil.rmtree(tmp_path / "t")
    with pytest.raises(PackError, match=f"{tmp_path}/t/a vanished while its tree was read"):
        list(entries)
    with pytest.raises(PackError, match=f"{tmp_path}/t vanished"):
        list(walk(os.fsencode(tmp_path / "t"), b"/t"))


def test_a_file_that_vanishes_during_the_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "t", {b"a": (b"", 0o444), b"b": (b"", 0o444)})
    scandir = os.scandir

    class Scan:
        """A directory with a file that vanishes between `scandir` and `stat`."""

        def __init__(self, path: bytes) -> None:
            self._found = list(scandir(path))
            (tmp_path / "t" / "b").unlink()

        def __enter__(self) -> list[os.DirEntry[bytes]]:
            return self._found

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Scan)
    with pytest.raises(PackError, match=f"{tmp_path}/t/b vanished while its tree was read"):
        list(walk(os.fsencode(tmp_path / "t"), b"/t"))


def test_sockets_and_devices_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"a": (b"", 0o444)})
    os.mknod(tmp_path / "t" / "socket", stat.S_IFSOCK | 0o600)
    with pytest.raises(PackError, match=f"{tmp_path}/t/socket is a device or a socket"):
        list(walk(os.fsencode(tmp_path / "t"), b"/t"))
    with pytest.raises(PackError, match="/dev/null is a device or a socket"):
        list(walk(b"/dev/null", b"/null"))


@pytest.mark.parametrize("name", [".wh.file", ".wh.", ".wh..wh..opq"])
def test_names_of_whiteouts_are_refused(tmp_path: Path, name: str) -> None:
    make(tmp_path / "t", {b"d": {name.encode(): (b"", 0o444)}})
    with pytest.raises(PackError, match="whiteout") as caught:
        list(walk(os.fsencode(tmp_path / "t"), b"/t"))
    assert str(caught.value).startswith(f"{tmp_path}/t/d/{name} ")
    assert caught.value.path == f"{tmp_path}/t/d/{name}"


def test_names_like_whiteouts_are_not_refused(tmp_path: Path) -> None:
    make(tmp_path / "t", {b".wh": (b"", 0o444), b"a.wh.b": (b"", 0o444)})
    assert packed(tmp_path / "t") == by_tarfile(tmp_path / "t")


def test_a_pipe_is_a_member(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o644)
    (tmp_path / "pipe").chmod(0o644)
    assert packed(tmp_path / "pipe") == by_tarfile(tmp_path / "pipe")


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_errors_of_writing_are_passed_on(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(bytes(size))

    def write(view: memoryview | bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_tar(walk(os.fsencode(tmp_path / "file"), b"/f"), Headers(MemberMeta()), write)
