"""The Nix store in the merged layers of an image."""

from __future__ import annotations

import io
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import ImageError
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.database import write_nix_db
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.read.nix_store import read_image_store
from tests.unit.nix.nar_files import File, Link, Tree, dump

A, B, C = (StorePath.parse(f"/nix/store/{letter * 32}-{letter}") for letter in "abc")


@dataclass(frozen=True)
class Layer:
    """A layer of files, by name, and of directories, whose names end in a slash."""

    members: Mapping[str, bytes | str]
    subject = "the layer"

    def open_tar(self) -> BinaryIO:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in self.members.items():
                info = tarfile.TarInfo(name)
                if name.endswith("/"):
                    info.type = tarfile.DIRTYPE
                    tar.addfile(info)
                elif isinstance(content, str):
                    info.type, info.linkname = tarfile.SYMTYPE, content
                    tar.addfile(info)
                else:
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        return io.BytesIO(out.getvalue())


def layer(*names: str, **contents: bytes) -> Layer:
    return Layer({**{name.lstrip("/"): b"" for name in names}, **contents})


def store_paths(*layers: Layer) -> list[StorePath]:
    return sorted(read_image_store(layers).paths)


def database(tmp_path: Path, *infos: PathInfo) -> bytes:
    directory = tmp_path / f"db{len(list(tmp_path.iterdir()))}"
    write_nix_db(Closure.of(infos), directory, registration_time=1)
    return (directory / "nix/var/nix/db/db.sqlite").read_bytes()


def info(path: StorePath, *references: StorePath) -> PathInfo:
    return PathInfo(path, 7, Hash("sha256", path.encode()[-32:]), references, None)


def test_paths_of_all_layers() -> None:
    both = store_paths(
        layer("/nix/", "/nix/store/", f"{A}/", f"{A}/f"), layer(f"./{B}", "etc/passwd")
    )
    assert both == [A, B]


def test_what_is_no_store_path_does_not_count() -> None:
    assert store_paths(layer("/nix/store/.links/", "/nix/store/x", f"/other{A}", f"{A}/")) == [A]


@pytest.mark.parametrize(
    "whiteout",
    [
        f"/nix/store/.wh.{A.base_name}",
        f"{A}/.wh..wh..opq",
    ],
)
def test_a_whiteout_removes_a_path(whiteout: str) -> None:
    assert store_paths(layer(f"{A}/f", f"{B}/f"), layer(whiteout)) == [B]


@pytest.mark.parametrize(
    "whiteout",
    [
        "/nix/.wh.store",
        "/.wh.nix",
        ".wh..wh..opq",
        "nix/.wh..wh..opq",
        "/nix/store/.wh..wh..opq",
        "/nix/store",
        "/nix",
    ],
)
def test_all_paths_go_with_their_store(whiteout: str) -> None:
    """Also when a file takes a directory's place; what the same layer adds is kept."""
    assert store_paths(layer(f"{A}/f", f"{B}/f"), layer(whiteout)) == []
    if not whiteout.endswith(("nix", "store")) or ".wh." in whiteout:
        assert store_paths(layer(f"{A}/f"), layer(f"{C}/f", whiteout)) == [C]


def test_a_path_that_comes_back_is_whole() -> None:
    removed = layer(f"/nix/store/.wh.{A.base_name}")
    assert store_paths(layer(f"{A}/f"), removed, layer(f"{A}/f")) == [A]
    assert store_paths(layer(f"{A}/f"), layer(f"/nix/store/.wh.{A.base_name}", f"{A}/f")) == [A]


def test_a_whiteout_inside_a_path_damages_it() -> None:
    store = read_image_store([layer(f"{A}/bin/f", f"{B}/f"), layer(f"{A}/bin/.wh.f")])
    assert store.paths == {B}
    assert store.damaged == {A}
    opaque = read_image_store([layer(f"{A}/bin/f"), layer(f"{A}/bin/.wh..wh..opq")])
    assert opaque.damaged == {A}


def test_whiteouts_act_on_lower_layers_only() -> None:
    assert store_paths(layer(f"/nix/store/.wh.{A.base_name}"), layer(f"{A}/f")) == [A]


def test_the_uppermost_database_counts(tmp_path: Path) -> None:
    name = "nix/var/nix/db/db.sqlite"
    lower = Layer({name: database(tmp_path, info(A))})
    upper = Layer({name: database(tmp_path, info(A), info(B, A, B))})
    assert read_image_store([upper, lower]).registered == (info(A),)
    assert read_image_store([lower, upper]).registered == (info(A), info(B, A, B))
    for whiteout in (f"{name.replace('db.sqlite', '.wh.db.sqlite')}", "nix/var/.wh.nix", ".wh.nix"):
        assert read_image_store([lower, layer(whiteout)]).registered is None
    for opaque in ("nix/var/nix/db/.wh..wh..opq", ".wh..wh..opq"):
        assert read_image_store([lower, layer(opaque)]).registered is None


def test_a_damaged_database_is_an_error(tmp_path: Path) -> None:
    whole = database(tmp_path, info(A))
    for broken, is_other in ((b"", True), (b"not sqlite", True), (whole[:5000], False)):
        layers = [Layer({"nix/var/nix/db/db.sqlite": broken, f"{A}/f".lstrip("/"): b""})]
        with pytest.raises(ImageError, match="is not a Nix database"):
            read_image_store(layers)
        messages: list[str] = []
        if not is_other:
            with pytest.raises(ImageError, match="is not a Nix database"):
                read_image_store(layers, pass_over=messages.append)
            continue
        store = read_image_store(layers, pass_over=messages.append)
        assert (store.paths, store.registered) == (frozenset([A]), None)
        assert ["is not a Nix database" in message for message in messages] == [True]


@given(st.lists(st.lists(st.sampled_from(["+a", "+b", "-a", "-b", "--"]), max_size=4), max_size=5))
def test_layers_add_up_as_in_a_model(steps: Sequence[Sequence[str]]) -> None:
    names = {"a": A, "b": B}
    model: set[StorePath] = set()
    layers = []
    for step in steps:
        members: dict[str, bytes | str] = {}
        for act in step:
            if act == "--":
                members["nix/store/.wh..wh..opq"] = b""
            elif act[0] == "-":
                members[f"nix/store/.wh.{names[act[1]].base_name}"] = b""
            else:
                members[f"{names[act[1]]}/f".lstrip("/")] = b""
        for act in step:
            model = set() if act == "--" else model - {names[act[1]]} if act[0] == "-" else model
        model |= {names[act[1]] for act in step if act[0] == "+"}
        layers.append(Layer(members))
    assert read_image_store(layers).paths == model


def test_a_database_of_views_is_refused(tmp_path: Path) -> None:
    """A view could be a program that never ends."""
    file = tmp_path / "views"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            """create view ValidPaths as with recursive c(x) as
                 (select 1 union all select x + 1 from c) select x as id from c where x < 0;
               create view Refs as select 1; create view DerivationOutputs as select 1;"""
        )
    with pytest.raises(ImageError, match="it lacks the table DerivationOutputs"):
        read_image_store([Layer({"nix/var/nix/db/db.sqlite": file.read_bytes()})])


def test_outputs_of_registered_derivations_are_known(tmp_path: Path) -> None:
    drv = StorePath(f"{A}.drv")
    write_nix_db(
        Closure.of([info(drv)]),
        tmp_path,
        registration_time=1,
        derivation_outputs={drv: {"out": str(B)}},
    )
    content = (tmp_path / "nix/var/nix/db/db.sqlite").read_bytes()
    store = read_image_store([Layer({"nix/var/nix/db/db.sqlite": content})])
    assert store.derivation_outputs == {drv: {"out": B}}


# A tree with every kind of file, whose NAR has a size that only its files decide.
TREE: Tree = {
    b"bin": {b"app": File(b"program", executable=True), b"sh": Link(b"app")},
    b"etc": {b"app.conf": File(b"on = true\n"), b"empty": {}},
}


def members_of(tree: Tree, name: str) -> Iterator[tuple[str, bytes | str]]:
    """Yield the members of a tree, all with the same mode."""
    if isinstance(tree, File):
        yield name, tree.data
    elif isinstance(tree, Link):
        yield name, tree.target.decode()
    else:
        yield f"{name}/", b""
        for child, below in tree.items():
            yield from members_of(below, f"{name}/{child.decode()}")


def test_a_part_of_a_path_is_not_the_whole() -> None:
    size = len(dump(TREE)) - len(dump(File(b"", executable=True))) + len(dump(File(b"")))
    whole = PathInfo(A, size)
    members = dict(members_of(TREE, A[1:]))
    store = read_image_store([Layer(members)])
    assert store.nar_sizes == {A: size}
    assert store.has_whole(whole)
    assert store.has_whole(PathInfo(A)), "its size is not known"
    assert not store.has_whole(PathInfo(B, size))
    for missing in members:
        part = {name: content for name, content in members.items() if name != missing}
        assert not read_image_store([Layer(part)]).has_whole(whole)
        # Whichever layer has all of it.
        assert read_image_store([Layer(part), Layer(members)]).has_whole(whole)
        assert read_image_store([Layer(members), Layer(part)]).has_whole(whole)
    gone = layer(f"nix/store/.wh.{A.base_name}")
    config = Layer({f"{A[1:]}/etc/app.conf": b"on = true\n"})
    assert not read_image_store([Layer(members), gone, config]).has_whole(whole)
