"""New layers: of store paths, of a directory, and of a tar in a file."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import tarfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from nixdock.errors import PackError
from nixdock.layers.layer import Layer
from nixdock.layers.store import StoreLayer
from nixdock.layers.tar_file import TarLayer
from nixdock.layers.tree import TreeLayer
from nixdock.native.library import PACKER_VARIABLE
from nixdock.nix import case_hack
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.oci.layer_blob import LayerHistory
from nixdock.stores.local import LocalStore
from nixdock.tar.header import MemberMeta

LIBC = StorePath(f"/nix/store/{'a' * 32}-libc-2.0")
SCRIPT = StorePath(f"/nix/store/{'b' * 32}-script")
LINK = StorePath(f"/nix/store/{'c' * 32}-link")


@pytest.fixture(autouse=True, params=["python", "native"])
def packer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACKER_VARIABLE, request.param)


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A directory with a store in it: a tree, a regular file and a symlink."""
    (tmp_path / f"root{LIBC}/lib").mkdir(parents=True)
    lib = tmp_path / f"root{LIBC}/lib"
    (lib / "libc.so.6").write_bytes(bytes(range(256)) * 8)
    (lib / "libc.so").symlink_to("libc.so.6")
    (lib / ("n" * 120)).write_bytes(b"")
    (tmp_path / f"root{SCRIPT}").write_bytes(b"#!/bin/sh\n")
    (tmp_path / f"root{LINK}").symlink_to(f"{LIBC}/lib")
    for file in lib.iterdir():
        if not file.is_symlink():
            file.chmod(0o444)
    (tmp_path / f"root{SCRIPT}").chmod(0o555)
    for directory in (lib, lib.parent):
        directory.chmod(0o555)
    return str(tmp_path / "root")


def tar_of(layer: Layer) -> bytes:
    """Return the tar of a layer; check that its size is known before it is written."""
    out = io.BytesIO()
    layer.pack(out.write)
    sized = layer.sized(())
    assert sized.size == out.tell()
    measured = io.BytesIO()
    sized.write_to(measured.write)
    assert measured.getvalue() == out.getvalue()
    return out.getvalue()


def members(layer: Layer) -> list[tarfile.TarInfo]:
    """Return the members of a layer's tar; tarfile strips the final slash of their names."""
    with tarfile.open(fileobj=io.BytesIO(tar_of(layer))) as tar:
        return tar.getmembers()


def names(layer: Layer) -> list[str]:
    return [member.name for member in members(layer)]


def test_errors_name_a_file_by_its_place_in_the_image(tmp_path: Path) -> None:
    """The directory is a temporary one, which is gone when somebody reads the error."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / ".wh.x").touch()
    with pytest.raises(PackError, match=r"^/etc/\.wh\.x in the image has the name of") as caught:
        names(TreeLayer(tmp_path, MemberMeta()))
    assert caught.value.path == "/etc/.wh.x"


def test_store_directories_come_first(root: str) -> None:
    first, second, *others = members(StoreLayer((LIBC,), store=LocalStore(root)))
    assert (first.name, first.mode, first.isdir()) == ("/nix", 0o755, True)
    assert (second.name, second.mode, second.isdir()) == ("/nix/store", 0o755, True)
    lib = f"{LIBC}/lib"
    assert [(m.name, m.mode) for m in others if not m.issym()] == [
        (LIBC, 0o555),
        (lib, 0o555),
        (f"{lib}/libc.so.6", 0o444),
        (f"{lib}/{'n' * 120}", 0o444),
    ]


def test_paths_stand_in_the_given_order(root: str) -> None:
    first = names(StoreLayer((SCRIPT, LINK, LIBC), store=LocalStore(root)))
    assert first[2:5] == [SCRIPT, LINK, LIBC]
    second = names(StoreLayer((LINK, LIBC, SCRIPT), store=LocalStore(root)))
    assert second[2:4] == [LINK, LIBC]
    assert second[-1] == SCRIPT


def test_a_store_path_that_is_a_link_or_a_file(root: str) -> None:
    _, _, script, link = members(StoreLayer((SCRIPT, LINK), store=LocalStore(root)))
    assert script.isreg()
    assert (script.size, script.mode) == (10, 0o555)
    assert link.issym()
    assert link.linkname == f"{LIBC}/lib"


def test_root_leaves_no_trace(root: str, tmp_path: Path) -> None:
    data = tar_of(StoreLayer((LIBC, SCRIPT, LINK), store=LocalStore(root)))
    assert os.fsencode(tmp_path) not in data
    elsewhere = tmp_path / "somewhere" / "else"
    elsewhere.parent.mkdir()
    Path(root).rename(elsewhere)
    assert tar_of(StoreLayer((LIBC, SCRIPT, LINK), store=LocalStore(str(elsewhere)))) == data


def test_another_store_directory(tmp_path: Path) -> None:
    store = f"{tmp_path}/my/store"
    path = StorePath(f"{store}/{'a' * 32}-x")
    Path(path).parent.mkdir(parents=True)
    Path(path).write_bytes(b"x")
    found = members(StoreLayer((path,), store_dir=store))
    parents = [str(parent) for parent in reversed(Path(store).parents)][1:]
    assert [member.name for member in found] == [*parents, store, path]
    assert all(member.mode == 0o755 for member in found[:-1])


def test_owner_and_time(root: str) -> None:
    meta = MemberMeta(mtime=1234567890, uid=1000, gid=100, uname="user", gname="users")
    for member in members(StoreLayer((LIBC, LINK), meta, store=LocalStore(root))):
        assert (member.mtime, member.uid, member.gid) == (1234567890, 1000, 100)
        assert (member.uname, member.gname) == ("user", "users")


def test_a_missing_store_path(root: str) -> None:
    missing = StorePath(f"/nix/store/{'d' * 32}-missing")
    with pytest.raises(PackError, match=f"{root}{missing} does not exist") as caught:
        tar_of(StoreLayer((LIBC, missing), store=LocalStore(root)))
    assert caught.value.path == f"{root}{missing}"


# The digests must never change: images that exist share layers with those to come.
def test_digests_of_store_layers(root: str) -> None:
    def digest(*paths: StorePath, meta: MemberMeta = MemberMeta()) -> str:  # noqa: B008
        return hashlib.sha256(tar_of(StoreLayer(paths, meta, store=LocalStore(root)))).hexdigest()

    assert digest(LIBC) == "1f95aab795f5ea3242adc0165fab5b8f9cfa03fe1871eae4e4d3a3ea53746260"
    assert (
        digest(SCRIPT, LINK) == "3eb59121d3391a71a0dead87c1c2a136791997ee1830f5f294496ce0a192f02a"
    )
    assert (
        digest(SCRIPT, meta=MemberMeta(86400, 1000, 100, "user", "users"))
        == "3c9508cbbd041292000004b95999a79aa839a98c268188bb7aad017ea1767e0a"
    )


KEYED = StoreLayer(
    (LIBC, SCRIPT),
    nar_hashes=(Hash("sha256", bytes(32)), Hash("sha256", bytes(31) + b"1")),
)


def test_keys_name_recipes() -> None:
    assert KEYED.key == "sha256:c00d4ac854afb0e2b8fac5c62da317d2466e8b2051535a9836e69f2d53faa18c"
    assert replace(KEYED, store=LocalStore("/elsewhere"), nar_size=7).key == KEYED.key, (
        "the place and the size do not matter"
    )


def test_every_part_of_the_recipe_changes_the_key() -> None:
    recipes = [
        KEYED,
        replace(KEYED, paths=(SCRIPT, LIBC)),
        replace(KEYED, paths=(LIBC, LINK)),
        replace(KEYED, nar_hashes=KEYED.nar_hashes[::-1]),
        replace(KEYED, paths=(LIBC,), nar_hashes=KEYED.nar_hashes[:1]),
        replace(KEYED, store_dir="/my/store"),
        *(
            replace(KEYED, meta=meta)
            for meta in (
                MemberMeta(mtime=2),
                MemberMeta(uid=1),
                MemberMeta(gid=1),
                MemberMeta(uname=""),
                MemberMeta(gname=""),
                MemberMeta(uname="", gname="rootroot"),
            )
        ),
    ]
    for first, second in itertools.combinations(recipes, 2):
        assert first.key is not None
        assert first.key != second.key, (first, second)


def test_no_key_without_every_nar_hash() -> None:
    assert replace(KEYED, nar_hashes=()).key is None
    assert replace(KEYED, nar_hashes=KEYED.nar_hashes[:1]).key is None
    assert replace(KEYED, nar_hashes=(KEYED.nar_hashes[0], None)).key is None


def test_history_of_a_store_layer() -> None:
    history = LayerHistory("nixdock: libc-2.0", "1 store path: libc-2.0")
    assert StoreLayer((LIBC,)).history == history
    history = LayerHistory("nixdock: libc-2.0 (+1)", "2 store paths: libc-2.0, link")
    assert StoreLayer((LIBC, LINK)).history == history


def test_the_history_of_many_paths_fits_on_a_line() -> None:
    many = tuple(StorePath(f"/nix/store/{'a' * 32}-package{i}") for i in range(1000))
    history = LayerHistory(
        "nixdock: package0 (+999)",
        "1000 store paths: package0, package1, package2, package3, package4 and 995 more",
    )
    assert StoreLayer(many).history == history
    assert len(history.comment) < 80
    long = tuple(StorePath(f"/nix/store/{'a' * 32}-{letter * 211}") for letter in "xy")
    comment = f"2 store paths: {'x' * 50}... and 1 more"
    assert StoreLayer(long).history.comment == comment
    assert len(comment) < 80
    assert StoreLayer(long[:1]).history.comment == f"1 store path: {'x' * 62}..."


def test_weight_of_a_store_layer() -> None:
    assert StoreLayer((LIBC,), nar_size=5).weight == 5


# Layers of a directory.


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o555])
def test_a_tree_starts_with_its_root(tmp_path: Path, mode: int) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc").chmod(0o750)
    (tree / "etc" / "passwd").write_text("root")
    (tree / "etc" / "passwd").chmod(0o640)
    (tree / "bin").symlink_to("usr/bin")
    tree.chmod(mode)
    found = members(TreeLayer(tree, MemberMeta(mtime=5)))
    assert [(m.name, m.mode, m.type) for m in found] == [
        ("", 0o755, tarfile.DIRTYPE),
        ("/bin", 0o777, tarfile.SYMTYPE),
        ("/etc", 0o750, tarfile.DIRTYPE),
        ("/etc/passwd", 0o640, tarfile.REGTYPE),
    ]
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in found} == {(5, 0, 0, "root")}
    assert tar_of(TreeLayer(tree, MemberMeta())).startswith(b"/\0")


def test_an_empty_tree_is_its_root(tmp_path: Path) -> None:
    assert names(TreeLayer(tmp_path, MemberMeta())) == [""]


def test_a_tree_has_no_name_twice(tmp_path: Path) -> None:
    for name in ("a", "a/b", "a-c", "a/b/d"):
        (tmp_path / name).mkdir()
    found = names(TreeLayer(tmp_path, MemberMeta()))
    assert found == ["", "/a", "/a/b", "/a/b/d", "/a-c"]


def test_links_to_files_whose_names_nix_changes_on_macos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the names that the layers of store paths give to their targets."""
    (tmp_path / "e~nix~case~hack~1").mkdir()
    link = tmp_path / "e~nix~case~hack~1/f~nix~case~hack~2"
    link.symlink_to("/nix/store/x/e~nix~case~hack~1/f~nix~case~hack~2")
    (tmp_path / "E").mkdir()
    monkeypatch.setattr(case_hack, "_is_used", True)
    *_, found = members(TreeLayer(tmp_path, MemberMeta()))
    assert (found.name, found.linkname) == ("/e/f", "/nix/store/x/e/f")


# Layers of a tar in a file.


def _tar_layer(file: Path, data: bytes) -> TarLayer:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return TarLayer(file, digest, LayerHistory("x", "y"))


def test_a_tar_is_passed_on(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "layer.tar").write_bytes(data)
    layer = _tar_layer(tmp_path / "layer.tar", data)
    assert tar_of(layer) == data
    assert layer.weight == len(data)
    assert layer.history == LayerHistory("x", "y")


def test_a_tar_with_another_digest(tmp_path: Path) -> None:
    file = tmp_path / "layer.tar"
    file.write_bytes(b"other")
    layer = _tar_layer(file, b"right")
    with pytest.raises(PackError, match=f"{file} has the digest sha256:.*, not {layer.diff_id}"):
        layer.write_tar(lambda data: None)


def test_a_tar_that_can_t_be_read(tmp_path: Path) -> None:
    missing = _tar_layer(tmp_path / "missing.tar", b"")
    with pytest.raises(PackError, match=r"missing\.tar: No such file or directory"):
        missing.write_tar(lambda data: None)
    with pytest.raises(PackError, match=r"missing\.tar: No such file or directory"):
        missing.measured_tar()
    with pytest.raises(PackError, match="Is a directory"):
        _tar_layer(tmp_path, b"").write_tar(lambda data: None)
