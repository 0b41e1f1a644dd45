"""The entries of a NAR are those of the tree that it was made of."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given, settings

from nixdock.errors import NixdockError, PackError
from nixdock.nix.nar import NarReader
from nixdock.nix.store_path import StorePath
from nixdock.stores.listing import parse_listing
from nixdock.stores.nar_entries import entries_of_nar
from nixdock.tar.header import Entry, Headers, MemberMeta
from nixdock.tar.walk import walk
from nixdock.tar.write import write_tar
from tests.unit.nix.nar_files import File, Tree, dump, trees, write

PATH = StorePath.parse(f"/nix/store/{'a' * 32}-tree")


def tar_of_nar(nar: bytes) -> bytes:
    reader = NarReader(io.BytesIO(nar), "the NAR")
    out = io.BytesIO()
    write_tar(entries_of_nar(reader, PATH, reader), Headers(MemberMeta()), out.write)
    return out.getvalue()


def tar_of_tree(file: Path) -> bytes:
    out = io.BytesIO()
    write_tar(walk(os.fsencode(file), PATH.encode()), Headers(MemberMeta()), out.write)
    return out.getvalue()


def removable(directory: Path) -> None:
    for each in [*directory.rglob("*")]:
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o755)


def tar_of_written(tree: Tree) -> bytes:
    """Write a tree to disk and return its tar."""
    with TemporaryDirectory() as directory:
        file = Path(directory, "tree")
        write(tree, os.fsencode(file))
        try:
            return tar_of_tree(file)
        finally:
            removable(Path(directory))


@settings(max_examples=60)
@given(trees())
def test_layers_have_the_same_bytes_from_either(tree: Tree) -> None:
    assert tar_of_nar(dump(tree)) == tar_of_written(tree)


@pytest.mark.nix
@settings(max_examples=30)
@given(trees())
def test_entries_of_what_nix_dumps_are_those_of_the_walk(tree: Tree) -> None:
    with TemporaryDirectory() as directory:
        file = Path(directory, "tree")
        write(tree, os.fsencode(file))
        try:
            expected = tar_of_tree(file)
            command = ["nix-store", "--dump", str(file)]
            nar = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        finally:
            removable(Path(directory))
    assert tar_of_nar(nar) == expected


@given(trees(any_bytes=True))
def test_another_order_is_noticed(tree: Tree) -> None:
    """Names that are not UTF-8 can be in another order in a layer, which a stream can't have."""
    expected = tar_of_written(tree)
    try:
        found = tar_of_nar(dump(tree))
    except PackError as error:
        assert "in a layer, but after it in a NAR" in str(error)
    else:
        assert found == expected


def test_the_order_of_names_that_are_not_text() -> None:
    tree = {"\ufffd".encode(): File(b""), b"\xff": File(b"")}
    with pytest.raises(PackError) as caught:
        tar_of_nar(dump(tree))
    assert str(caught.value) == (
        rf"{PATH}/\xff comes before � in a layer, but after it in a NAR, which is read"
        " once; copy its store path into the local store"
    )


def test_names_of_whiteouts_are_refused() -> None:
    with pytest.raises(PackError, match=r"/lib/\.wh\.x has the name of a whiteout"):
        tar_of_nar(dump({b"lib": {b".wh.x": File(b"")}}))


def test_contents_are_read_once() -> None:
    reader = NarReader(io.BytesIO(dump(File(b"data"))), "the NAR")
    entries = [*entries_of_nar(reader, PATH, reader)]
    with pytest.raises(PackError, match=f"the contents of {PATH} are not there any more"):
        write_tar(entries, Headers(MemberMeta()), lambda _: None)


@given(trees())
def test_listings_have_the_same_entries(tree: Tree) -> None:
    import orjson

    from .sample_cache import listed

    try:
        data = orjson.dumps({"version": 1, "root": listed(tree)})
    except UnicodeDecodeError:
        assume(False)
    found = [*NarReader(io.BytesIO(dump(tree)), "the NAR")]
    assert parse_listing(data, "the listing") == found


def below(names: list[str], files: int = 1) -> str:
    """A listing of directories, each in the one before it, with files in the last one."""
    entries = ",".join(f'"{i}":{{"type":"regular","size":0}}' for i in range(files))
    root = f'{{"type":"directory","entries":{{{entries}}}}}'
    for name in reversed(names):
        root = f'{{"type":"directory","entries":{{"{name}":{root}}}}}'
    return f'{{"version":1,"root":{root}}}'


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("", "Input is a zero-length, empty document"),
        ("[]", "an object or a string in it is something else"),
        ('{"version": 2, "root": {}}', "its version is not 1"),
        ('{"version": 1}', "it lacks 'root'"),
        ('{"version": 1, "root": {"type": "fifo"}}', "the type 'fifo' is not known"),
        ('{"version": 1, "root": {"type": "regular"}}', "it lacks 'size'"),
        ('{"version": 1, "root": {"type": "regular", "size": -1}}', "-1 is not the size of a file"),
        (
            '{"version": 1, "root": {"type": "regular", "size": "1"}}',
            "'1' is not the size of a file",
        ),
        (
            '{"version": 1, "root": {"type": "symlink", "target": ""}}',
            "the target of a symlink is empty, or has a NUL in it",
        ),
        (
            '{"version": 1, "root": {"type": "directory", "entries": {"..": {}}}}',
            "'..' can't be the name of a file",
        ),
        (
            '{"version": 1, "root": {"type": "directory", "entries": {"a/b": {}}}}',
            "'a/b' can't be the name of a file",
        ),
        (
            '{"version": 1, "root": {"type": "directory", "entries": []}}',
            "an object or a string in it is something else",
        ),
        (f'{{"x": [{"{}," * 5_000_000}0]}}', "it has more than 5000000 values"),
        (below(["a" * 20_000]), "a path in it has more than 16384 bytes"),
        (below(["a" * 200] * 90), "a path in it has more than 16384 bytes"),
        (below(["a" * 200] * 80, 10_000), "the paths in it have more than 134217728 bytes in all"),
    ],
    ids=lambda value: value[:60],
)
def test_listings_that_are_not_valid(data: str, problem: str) -> None:
    with pytest.raises(NixdockError) as caught:
        parse_listing(data.encode(), "the listing")
    assert str(caught.value).startswith(f"the listing is not a valid listing: {problem}")


def test_entries_are_those_of_a_store() -> None:
    reader = NarReader(io.BytesIO(dump(File(b"x", executable=True))), "the NAR")
    (entry,) = entries_of_nar(reader, PATH, None)
    assert entry == Entry(PATH.encode(), b"0", 0o555, 1)
