"""It is noticed which store paths a script wants that this machine lacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nixdock.errors import ScriptError
from nixdock.rootfs import store_view
from nixdock.rootfs.confinement import Confinement
from nixdock.rootfs.scripts import run_script
from nixdock.rootfs.store_view import StoreView

PATHS = [f"/nix/store/{letter * 32}-{letter}" for letter in "abc"]
A, B, C = PATHS


@pytest.fixture
def view() -> StoreView:
    return StoreView({}, PATHS)


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
    view: StoreView, tree: Path, script: str, wanted: set[str]
) -> None:
    try:
        run_script(script, tree, view=view)
    except ScriptError:
        assert wanted
    assert view.wanted == wanted


def test_what_is_fetched_is_there_and_cannot_be_changed(
    view: StoreView, tree: Path, tmp_path: Path
) -> None:
    file, link = tmp_path / "a/x", tmp_path / "c"
    file.parent.mkdir()
    file.write_text("a")
    link.symlink_to(f"{A}/x")
    view.fetched(A, str(tmp_path / "a"))
    view.fetched(C, str(link))
    run_script(f"cat {A}/x {C} > x; ! touch {A}/y 2> /dev/null", tree, view=view)
    assert (tree / "x").read_text() == "aa"
    assert view.wanted == set()
    assert view.waiting == {B}
    assert [*file.parent.iterdir()] == [file]


def test_other_paths_of_this_machine_are_not_there(tmp_path: Path, tree: Path) -> None:
    """A mount for each path of a large store would take longer than most scripts."""
    store = tmp_path / "store"
    present, other, waiting = (str(store / f"{c * 32}-{c}") for c in "pqw")
    for each in (present, other):
        Path(each).mkdir(parents=True)
    view = StoreView({present: present}, [waiting])
    run_script(f"ls {store} > names", tree, store_dir=str(store), view=view)
    assert (tree / "names").read_text().split() == [f"{'p' * 32}-p", f"{'w' * 32}-w"]


def test_where_use_is_not_noted_everything_is_wanted(
    view: StoreView, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with file systems that are mounted with noatime."""
    monkeypatch.setattr(store_view, "_was_used", lambda _: False)
    run_script("true", tree, view=view)
    assert view.wanted == {*PATHS}


def test_a_script_that_is_not_confined_finds_this_machine_alone(
    view: StoreView, tree: Path
) -> None:
    with pytest.raises(ScriptError) as caught:
        run_script(f"cat {B}", tree, confinement=Confinement.NIX_BUILD, view=view)
    assert str(caught.value) == (
        f"extra_commands names {B}, which is not in the local store, so that the script would not"
        " find its files, because it is not confined; copy the path into the local store first, for"
        f" example with `nix copy --from URL {B}`"
    )
    run_script("echo > x", tree, confinement=Confinement.NIX_BUILD, view=view)
    assert os.listdir(tree) == ["x"]
