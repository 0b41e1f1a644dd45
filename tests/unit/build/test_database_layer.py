"""The Nix database of an image: where scripts find it, and what they do to it."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from nixdock.build.build import prepared_build, prepared_top_layer
from nixdock.errors import PackError
from nixdock.layers.compression import Compression
from nixdock.oci.layout import Format
from nixdock.rootfs.packed_layer import write_top_layer
from nixdock.spec.reading import read_spec
from nixdock.write.image import write_image

LIB, APP = f"/nix/store/{'0' * 32}-lib", f"/nix/store/{'1' * 32}-app"
HASH = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
DB = "nix/var/nix/db/db.sqlite"
SEEN = f"test -s {DB} && test -h nix/var/nix/gcroots/docker/{'1' * 32}-app && test -d nix/store"

Write = Callable[..., Path]
needs_fakeroot = pytest.mark.skipif(not shutil.which("fakeroot"), reason="fakeroot is missing")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a spec, over a store of two paths, and returns its file."""
    for path in (LIB, APP):
        file = Path(f"{tmp_path}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    graph = [
        {"path": LIB, "narSize": 30, "references": [], "narHash": HASH},
        {"path": APP, "narSize": 20, "references": [LIB], "narHash": HASH},
    ]
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    (tmp_path / "lib.json").write_text(json.dumps(graph[:1]))

    def write_spec(name: str = "spec.json", **changes: object) -> Path:
        spec = {
            "version": 1,
            "name": "x",
            "closure": {"graph": "graph.json"},
            "store": {"root": str(tmp_path)},
            "nix_db": True,
            **changes,
        }
        file = tmp_path / name
        file.write_text(json.dumps({k: v for k, v in spec.items() if v is not None}))
        return file

    return write_spec


def comments_and_files(spec: Path) -> tuple[list[str], dict[str, tarfile.TarInfo], bytes]:
    """The comments of the layers, the merged members by name, and the database."""
    members: dict[str, tarfile.TarInfo] = {}
    database = b""
    with prepared_build(read_spec(spec)) as build:
        comments = [each.history.comment for each in build.layers]
        for each in build.layers:
            out = io.BytesIO()
            each.pack(out.write)
            with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
                members.update({member.name.strip("/"): member for member in tar})
                if DB in (name.strip("/") for name in tar.getnames()):
                    stream = tar.extractfile(f"/{DB}")
                    assert stream is not None
                    database = stream.read()
    return comments, members, database


def registered(database: bytes, directory: Path) -> list[str]:
    file = directory / "read.sqlite"
    file.write_bytes(database)
    with closing(sqlite3.connect(file)) as connection:
        return [path for (path,) in connection.execute("select path from ValidPaths order by path")]


def owner(member: tarfile.TarInfo) -> tuple[int, int, int]:
    return member.mode, member.uid, member.gid


def test_without_scripts_the_database_is_a_layer_of_its_own(write: Write) -> None:
    comments, _, _ = comments_and_files(write())
    assert comments[-2:] == ["the image's own files", "the Nix database of 2 store paths"]


@pytest.mark.parametrize("single", [False, True])
def test_extra_commands_find_the_database(write: Write, tmp_path: Path, *, single: bool) -> None:
    script = f"{SEEN} && chmod 1777 nix/store && chmod 666 {DB} && ln -s x nix/var/nix/gcroots/own"
    store = {"root": str(tmp_path), "uid": 1000, "gid": 100}
    spec = write(extra_commands=script, store=store, single_layer=single)
    comments, members, database = comments_and_files(spec)
    assert "database" not in comments[-1]
    assert owner(members[DB]) == (0o666, 1000, 100)
    assert owner(members["nix/store"]) == (0o1777, 1000, 100)
    # A file that the script makes belongs to the owner of the image's own files.
    assert owner(members["nix/var/nix/gcroots/own"])[1:] == (0, 0)
    assert registered(database, tmp_path) == [LIB, APP]


@needs_fakeroot
def test_root_scripts_change_the_owners_of_the_database(write: Write, tmp_path: Path) -> None:
    script = f"{SEEN} && chown -R 7:8 nix/var && chmod 1777 nix"
    store = {"root": str(tmp_path), "uid": 1000, "gid": 100}
    _, members, _ = comments_and_files(write(fake_root_commands=script, store=store))
    assert owner(members[DB]) == (0o644, 7, 8)
    assert owner(members["nix/var"]) == (0o755, 7, 8)
    assert owner(members["nix"]) == (0o1777, 1000, 100)
    assert owner(members["nix/store"]) == (0o755, 1000, 100)


def test_a_script_that_removes_the_database_gets_it_as_a_layer(write: Write) -> None:
    comments, members, _ = comments_and_files(write(extra_commands="rm -r nix"))
    assert comments[-1] == "the Nix database of 2 store paths"
    assert owner(members[DB]) == (0o644, 0, 0)


def packed_top_layer(spec: Path, target: Path) -> str:
    with prepared_top_layer(read_spec(spec)) as top:
        write_top_layer(top, target)
    return str(target)


@needs_fakeroot
def test_a_layer_adds_what_was_not_known_before_the_scripts(write: Write, tmp_path: Path) -> None:
    script = f"chown -R 7:8 nix/var; chmod 1777 nix; chmod 600 {DB}"
    own = write("top.json", closure={"graph": "lib.json"}, fake_root_commands=script)
    top = packed_top_layer(own, tmp_path / "top")
    comments, members, database = comments_and_files(write(top_layer=top))
    assert comments[-1] == "the Nix database of 2 store paths"
    assert registered(database, tmp_path) == [LIB, APP]
    assert owner(members[DB]) == (0o600, 7, 8)
    assert owner(members["nix"]) == (0o1777, 0, 0)
    assert owner(members[f"nix/var/nix/gcroots/docker/{'1' * 32}-app"])[1:] == (7, 8)


def test_a_packed_top_layer_with_all_paths_needs_no_further_layer(
    write: Write, tmp_path: Path
) -> None:
    top = packed_top_layer(write("top.json", extra_commands="true"), tmp_path / "top")
    comments, _, _ = comments_and_files(write(top_layer=top))
    assert comments[-1] == "the image's own files"
    # Without scripts, nothing has to see the database.
    plain = packed_top_layer(write("top.json"), tmp_path / "plain")
    comments, members, _ = comments_and_files(write(top_layer=plain))
    assert comments[-1] == "the Nix database of 2 store paths"
    assert owner(members[DB]) == (0o644, 0, 0)


def test_the_database_of_a_base_image_is_replaced(write: Write, tmp_path: Path) -> None:
    with prepared_build(read_spec(write(closure={"graph": "lib.json"}))) as build:
        write_image(build, tmp_path / "base.tar", Format.ARCHIVE, Compression.NONE)
    spec = write(from_image={"path": "base.tar"}, extra_commands=SEEN)
    comments, _, database = comments_and_files(spec)
    assert "database" not in comments[-1]
    assert registered(database, tmp_path) == [LIB, APP]


def test_a_symlink_of_the_base_image_leads_nowhere(write: Write, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    content = tmp_path / "content"
    content.mkdir()
    (content / "nix").symlink_to(tmp_path / "outside")
    spec = write(
        contents=[str(content)],
        copy_contents=True,
        keep_directory_links=True,
        extra_commands="true",
        store={},
        closure=None,
    )
    with pytest.raises(PackError, match="/nix is no directory"), prepared_build(read_spec(spec)):
        pass
    assert not any((tmp_path / "outside").iterdir())
