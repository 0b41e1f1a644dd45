"""What is in the tar of a layer, compared with NARs that the manual's text defines."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from nixdock.read.contents import LayerContents, read_contents
from tests.unit.nix.nar_files import File, Link, Tree, dump, trees

PATHS = tuple(f"/nix/store/{letter * 32}-p{letter}" for letter in "abc")


def add(archive: tarfile.TarFile, name: str, tree: Tree) -> None:
    """Add a tree to a tar, as nixdock and other tools do."""
    info = tarfile.TarInfo(name)
    if isinstance(tree, File):
        info.size, info.mode = len(tree.data), 0o555 if tree.executable else 0o444
        archive.addfile(info, io.BytesIO(tree.data))
    elif isinstance(tree, Link):
        info.type, info.linkname = tarfile.SYMTYPE, tree.target.decode("utf-8", "surrogateescape")
        archive.addfile(info)
    else:
        info.type, info.mode = tarfile.DIRTYPE, 0o555
        archive.addfile(info)
        for child, below in sorted(tree.items()):
            add(archive, f"{name}/{child.decode()}", below)


def contents_of(found: Mapping[str, Tree], *, with_files: bool = False) -> LayerContents:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", errors="surrogateescape") as archive:
        for directory in ("/nix", "/nix/store"):
            add(archive, directory, {})
        for path, tree in found.items():
            add(archive, path, tree)
    stream.seek(0)
    return read_contents(stream, with_files=with_files)


@given(st.lists(trees(), min_size=1, max_size=3))
def test_the_sizes_are_those_of_nars(found: list[Tree]) -> None:
    store = dict(zip(PATHS, found, strict=False))
    contents = contents_of(store)
    assert contents.nar_sizes == {path: len(dump(tree)) for path, tree in store.items()}
    assert contents.store_paths == tuple(store)


def test_a_nar_has_hard_links_as_files() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        tree = {b"one": File(b"x" * 1001, executable=True)}
        add(archive, f".{PATHS[0]}", tree)
        for target in (f".{PATHS[0]}/one", f"{PATHS[0][1:]}/one"):
            info = tarfile.TarInfo(f".{PATHS[0]}/{len(archive.getnames())}")
            info.type, info.linkname = tarfile.LNKTYPE, target
            archive.addfile(info)
    stream.seek(0)
    whole = {b"2": tree[b"one"], b"3": tree[b"one"], **tree}
    assert len(stream.getvalue()) < 3 * 10240
    assert read_contents(stream).nar_sizes == {PATHS[0]: len(dump(whole))}


def test_files_are_listed() -> None:
    tree = {b"bin": {b"app": File(b"12345", executable=True)}, b"e\x1b": Link(b"/etc/x")}
    contents = contents_of({PATHS[0]: tree}, with_files=True)
    assert contents.files is not None
    assert [tuple(file) for file in contents.files] == [
        ("/nix", "directory", 0, 0o555, None),
        ("/nix/store", "directory", 0, 0o555, None),
        (PATHS[0], "directory", 0, 0o555, None),
        (f"{PATHS[0]}/bin", "directory", 0, 0o555, None),
        (f"{PATHS[0]}/bin/app", "file", 5, 0o555, None),
        (f"{PATHS[0]}/e\x1b", "symbolic link", 0, 0o644, "/etc/x"),
    ]
    assert contents_of({PATHS[0]: tree}).files is None


def test_whiteouts_and_other_files_are_in_no_nar() -> None:
    alone = contents_of({PATHS[0]: File(b"")})
    more = contents_of({PATHS[0]: File(b""), "/etc/passwd": File(b"root")})
    assert more.nar_sizes == alone.nar_sizes
    hidden = contents_of({PATHS[0]: {b"a": File(b""), b".wh.b": File(b"")}})
    assert hidden.nar_sizes == {PATHS[0]: len(dump({b"a": File(b"")}))}


def test_nixs_database_is_found() -> None:
    for name in ("nix/var/nix/db/db.sqlite", "./nix/var/nix/db/db.sqlite"):
        assert contents_of({name: File(b"")}).has_nix_database
    for name in ("nix/var/nix/db/db.sqlite-wal", f"{PATHS[0]}/nix/var/nix/db/db.sqlite"):
        assert not contents_of({name: File(b"")}).has_nix_database
