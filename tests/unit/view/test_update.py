"""Views of updates: statuses, packages, what moves without need, and the sentence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nixdock.diff.comparison import compare_sides
from nixdock.diff.side import Document, Side, SideKind, SideLayer
from nixdock.errors import InputError
from nixdock.face.viewing import view_diff
from nixdock.view.document import parse_update, parse_view, view_document
from nixdock.view.model import Status
from nixdock.view.sentence import share_text, update_sentence
from nixdock.view.shares import path_counts, status_runs, status_sizes
from nixdock.view.update import PackageStatus, UpdateView
from tests.unit.closures import store_path


def plan(*layers: str, size: int = 1000) -> Side:
    """Return a plan with a layer of so many bytes for each path: "app-1:salt lib-2"."""
    paths = [
        tuple(store_path(*word.partition(":")[::2]) for word in layer.split()) for layer in layers
    ]
    return Side(
        "a plan",
        SideKind.PLAN,
        tuple(SideLayer(i, each, size * len(each)) for i, each in enumerate(paths, 1)),
    )


def update(old: Side, new: Side) -> UpdateView:
    return view_diff(compare_sides(old, new))


WORDS = st.lists(st.sampled_from([f"{n}-{v}" for n in "abcde" for v in "12"]), unique=True)
PLANS = st.lists(WORDS.filter(bool).map(" ".join), max_size=4).filter(
    lambda layers: len({w for x in layers for w in x.split()}) == len(" ".join(layers).split())
)


@given(PLANS, PLANS)
def test_statuses_are_those_of_the_comparison(old: list[str], new: list[str]) -> None:
    sides = plan(*old), plan(*new)
    diff = compare_sides(*sides)
    view = view_diff(diff)
    assert [layer.status for layer in view.new.layers] == [layer.status for layer in diff.layers]
    assert {layer.number for layer in view.old.layers if layer.status is Status.GONE} == {
        gone.layer.number for gone in diff.gone
    }
    assert path_counts(view) == diff.path_counts()
    assert view.registry.size == diff.transfers.registry.total
    assert view.docker.layers == diff.transfers.docker.layers
    # What is transferred is what is new, and everything adds up.
    sizes = status_sizes(view.new)
    assert sum(sizes.values()) == view.new.size == sum(size for _, size in status_runs(view.new))
    assert sizes.get(Status.NEW, 0) == view.registry.layer_size
    for layer in view.needless:
        assert 0 < layer.paths <= layer.of
        assert layer.reason


@given(PLANS, PLANS)
def test_json_holds_everything(old: list[str], new: list[str]) -> None:
    view = update(plan(*old), plan(*new))
    document = json.loads(json.dumps(view_document(view)))
    assert parse_update(document) == view
    assert parse_view(document["new"]) == view.new


def test_other_json_is_no_view() -> None:
    with pytest.raises(InputError, match=r"the object is not a view: .*origin"):
        parse_view({})
    with pytest.raises(InputError, match=r"layers\[0\].number"):
        parse_view({"origin": "", "kind": "image", "layers": [{"number": "1"}]})


@given(PLANS, PLANS)
def test_each_store_path_that_differs_is_in_one_package(old: list[str], new: list[str]) -> None:
    view = update(plan(*old), plan(*new))
    before = {path.path for path in view.old.paths()}
    after = {path.path for path in view.new.paths()}
    assert sorted(c.old for c in view.packages if c.old) == sorted(before - after)
    assert sorted(c.new for c in view.packages if c.new) == sorted(after - before)
    for change in view.packages:
        assert (change.old is None) is (change.status is PackageStatus.ADDED)
        assert (change.new is None) is (change.status is PackageStatus.REMOVED)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (["app-1.9"], ["app-2.0"], "1.0 kB of 1.0 kB (100 %): app 1.9 → 2.0"),
        (["app-1"], ["app-1"], "nothing"),
        (["app-1"], ["app-1:other"], "1.0 kB of 1.0 kB (100 %): app is rebuilt"),
        (["app-1"], ["app-1 x-2"], "2.0 kB of 2.0 kB (100 %): x is new"),
        (["app-1 x-2"], ["app-1"], "1.0 kB of 1.0 kB (100 %): x is gone"),
        (["a b"], ["b a"], "2.0 kB of 2.0 kB (100 %): no package changes"),
        # Outputs are not told apart, and what is rebuilt for the sake of others is not told at all.
        (
            ["x-1", "x-1-dev", "y-1"],
            ["x-2", "x-2-dev", "y-1:other"],
            "3.0 kB of 3.0 kB (100 %): x 1 → 2",
        ),
        (
            ["a-1", "b-1", "c-1", "d-1", "e-1"],
            ["a-2", "b-2", "c-2", "d-2", "e-2"],
            "5.0 kB of 5.0 kB (100 %): a 1 → 2, b 1 → 2, c 1 → 2 and 2 more",
        ),
        (["x-1", "y"], ["x-1"], "nothing: y is gone"),
    ],
)
def test_the_sentence(old: list[str], new: list[str], sentence: str) -> None:
    view = update(plan(*old), plan(*new))
    assert update_sentence(view) == f"an update moves {sentence}"


def test_the_app_comes_first_in_the_sentence() -> None:
    view = update(plan("a-1", "z-1"), plan("a-2", "z-2"))
    view = replace(view, new=replace(view.new, app=(store_path("z-2"),)))
    assert update_sentence(view, "<{}>".format).endswith(": <z> <1> → <2>, <a> <1> → <2>")


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 100, "0 %"),
        (0, 0, "0 %"),
        (1, 10**9, "less than 0.01 %"),
        (335, 253_000, "0.13 %"),
        (1, 10_000, "0.01 %"),
        (99, 10_000, "0.99 %"),
        (9_994, 1_000_000, "1.0 %"),
        (126, 10_000, "1.3 %"),
        (1_260, 10_000, "13 %"),
        (1, 1, "100 %"),
        (3, 2, "150 %"),
    ],
)
def test_shares(part: int, whole: int, text: str) -> None:
    assert share_text(part, whole) == text


def test_what_moves_without_need() -> None:
    view = update(
        plan("libc-1 sh-1", "app-1 data-1", "x-1 y-1"),
        plan("libc-1 sh-1", "app-2 data-1", "y-1 x-1"),
    )
    assert [(n.layer, n.paths, n.of, n.reason) for n in view.needless] == [
        (2, 1, 2, "its layer also holds app-2, which is new, in place of app-1"),
        (3, 2, 2, "its layer has the same store paths in another order"),
    ]


def test_a_blob_counts_once() -> None:
    layers = tuple(SideLayer(number, (), 100, "sha256:same") for number in (1, 2))
    side = Side("x", SideKind.IMAGE, layers, Document("sha256:c", 10), Document("sha256:m", 20))
    assert side.stored_size == 130
    assert sum(status_sizes(update(side, side).new).values()) == 100
