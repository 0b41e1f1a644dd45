"""It is noticed which store paths a script wants that this machine lacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nixdock.errors import ScriptError
from nixdock.rootfs import absent_paths
from nixdock.rootfs.absent_paths import AbsentPaths
from nixdock.rootfs.confinement import Confinement
from nixdock.rootfs.scripts import run_script

PATHS = [f"/nix/store/{letter * 32}-{letter}" for letter in "abc"]
A, B, C = PATHS


@pytest.fixture
def absent(tmp_path: Path) -> AbsentPaths:
    return AbsentPaths(tmp_path / "fetched", PATHS)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ("true", set()),
        (f"echo {A}; ls /nix/store", set()),
        (f"[ -e {A} ] || [ -d {B}/share ] || true", {A, B}),
        (f"cat {A}/x {B}", {A, B}),
        (f"cd {C}", {C}),
        (f"exec {C}/bin/c", {C}),
        (f"ln -s {A}/x x; [ -e x ]", {A}),
        (f"ln -s {A}/x x", set()),
    ],
)
def test_what_a_script_follows_is_wanted(
    absent: AbsentPaths, tree: Path, script: str, wanted: set[str]
) -> None:
    try:
        run_script(script, tree, absent=absent)
    except ScriptError:
        assert wanted
    assert absent.wanted == wanted


def test_what_is_fetched_is_there_and_cannot_be_changed(absent: AbsentPaths, tree: Path) -> None:
    for path, text in ((A, "a"), (B, "b")):
        file = Path(f"{absent.root}{path}/x")
        file.parent.mkdir(parents=True)
        file.write_text(text)
    link = Path(f"{absent.root}{C}")
    link.symlink_to(f"{A}/x")
    absent.wanted = {A, C}
    absent.note_fetched()
    run_script(f"cat {A}/x {C} > x; ! touch {A}/y 2> /dev/null", tree, absent=absent)
    assert (tree / "x").read_text() == "aa"
    assert absent.wanted == set()
    assert absent.waiting == {B}
    assert [*Path(f"{absent.root}{A}").iterdir()] == [Path(f"{absent.root}{A}/x")]


def test_other_paths_of_this_machine_are_not_there(tmp_path: Path, tree: Path) -> None:
    """A mount for each path of a large store would take longer than most scripts."""
    store = tmp_path / "store"
    present, other = store / f"{'p' * 32}-p", store / f"{'q' * 32}-q"
    for each in (present, other):
        each.mkdir(parents=True)
    absent = AbsentPaths(tmp_path / "fetched", [f"{store}/{'a' * 32}-a"], [str(present)])
    run_script(f"ls {store} > names", tree, store_dir=str(store), absent=absent)
    assert (tree / "names").read_text().split() == [f"{'a' * 32}-a", f"{'p' * 32}-p"]


def test_where_use_is_not_noted_everything_is_wanted(
    absent: AbsentPaths, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with file systems that are mounted with noatime."""
    monkeypatch.setattr(absent_paths, "_was_used", lambda _: False)
    run_script("true", tree, absent=absent)
    assert absent.wanted == {*PATHS}


def test_a_script_that_is_not_confined_finds_this_machine_alone(
    absent: AbsentPaths, tree: Path
) -> None:
    with pytest.raises(ScriptError) as caught:
        run_script(f"cat {B}", tree, confinement=Confinement.NIX_BUILD, absent=absent)
    assert str(caught.value) == (
        f"extra_commands names {B}, which is not in the local store, so that the script would not"
        " find its files, because it is not confined; copy the path into the local store first, for"
        f" example with `nix copy --from URL {B}`"
    )
    run_script("echo > x", tree, confinement=Confinement.NIX_BUILD, absent=absent)
    assert os.listdir(tree) == ["x"]
