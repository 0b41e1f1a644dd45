"""Why a path is in its layer, by every strategy."""

from __future__ import annotations

import pytest

from nixdock.errors import ClosureError
from nixdock.layering import STRATEGIES, Layering, LayeringOptions, LayerPlan
from nixdock.layering.explain import Explanation, explain
from nixdock.layering.options import Group
from nixdock.layering.pipeline.parse import parse_pipeline
from nixdock.layering.plan_history import PreviousPlan
from nixdock.nix.closure import Closure
from tests.unit.closures import Nodes, closure_of, edges, store_path, tied

APP: Nodes = {
    "app": (10, ["lib", "data"]),
    "tool": (8, ["lib"]),
    "lib": (50, ["libc"]),
    "data": (3, []),
    "libc": (100, []),
}


def explained(
    name: str, strategy: str, budget: int = 3, options: LayeringOptions | None = None
) -> Explanation:
    layering = Layering(strategy, options or LayeringOptions())
    closure = closure_of(APP)
    plan = layering.plan(closure, budget)
    return explain(closure, plan, layering, budget, store_path(name))


def reasons_in(plan: list[list[str]], name: str, options: LayeringOptions) -> tuple[str, ...]:
    """Explain a path in the given plan, as if `stable` had planned it."""
    closure = closure_of(APP)
    planned = LayerPlan.of(closure, [[store_path(n) for n in layer] for layer in plan])
    return explain(closure, planned, Layering("stable", options), 3, store_path(name)).reasons


def test_where_it_is_and_what_changes_it() -> None:
    found = explained("lib", "auto")
    assert (found.layer, found.layers, found.layer_paths, found.layer_nar_size) == (2, 3, 1, 50)
    assert (found.nar_size, found.changed_by, found.layer_changed_by) == (50, 2, 2)
    # All paths share its layer.
    found = explained("tool", "auto", 1)
    assert (found.layer, found.layer_paths, found.changed_by, found.layer_changed_by) == (
        1,
        5,
        3,
        5,
    )
    assert found.document()["layer_nar_size"] == 171
    assert found.document()["reasons"] == found.reasons


def test_popularity() -> None:
    assert explained("libc", "popularity").reasons == (
        "it is number 1 of 5 by popularity, with a score of 6",
        "the 2 most popular paths have a layer each",
    )
    assert explained("app", "popularity").reasons[1] == (
        "only the 2 most popular paths have a layer each; the others share one"
    )
    assert (
        explained("app", "popularity", 5).reasons[1]
        == "there are enough layers to give each of the 5 paths its own"
    )


def test_auto() -> None:
    assert explained("libc", "auto").reasons == (
        "it is one of the 2 largest paths, each of which starts a layer",
    )
    assert explained("data", "auto").reasons == (
        "each of the 2 largest paths starts a layer, and it is not one of these",
        "none of these refers to it; all such paths share a layer",
    )
    assert explained("data", "auto", 4).reasons == (
        "each of the 4 largest paths starts a layer, and it is not one of these",
        "of these, app refers to it most directly",
        "paths that the same ones refer to most directly share a layer",
    )
    assert explained("app", "auto", 9).reasons == (
        "there are enough layers to give each of the 5 paths its own",
    )


def test_explicit() -> None:
    options = LayeringOptions(
        groups=(
            Group(paths=(store_path("data"),)),
            Group(closure_of=(store_path("lib"), store_path("gone"))),
        ),
        rest="popularity",
    )
    assert explained("data", "explicit", 3, options).reasons == ("group 1 names it",)
    assert explained("libc", "explicit", 3, options).reasons == (
        "it is in the closure of lib, which group 2 names",
    )
    assert explained("tool", "explicit", 3, options).reasons == (
        "it is in no group",
        "'popularity' plans the paths outside the groups, within 1 layer",
        "it is number 2 of 2 by popularity, with a score of 1",
        "all paths share the only layer",
    )


def test_pipeline() -> None:
    operations = [
        ["split_paths", [str(store_path("app"))]],
        ["over", "main", ["remove_paths", [str(store_path("data"))]]],
    ]
    options = LayeringOptions(pipeline=parse_pipeline(operations))
    found = explained("app", "pipeline", 3, options)
    assert found.layer == 1
    assert found.reasons == (
        "pipeline[0].split_paths puts it into main, with 1 other",
        "pipeline[1].over puts it into main, alone",
    )
    found = explained("data", "pipeline", 3, options)
    assert (found.layer, found.layer_paths, found.layer_changed_by) == (None, 0, 0)
    assert found.reasons[-1] == "pipeline[1].over removes it"


def test_stable_by_size_and_place() -> None:
    plan = [["libc"], ["data", "lib"], ["app", "tool"]]
    options = LayeringOptions(volatile=frozenset([store_path("data")]))
    nodes = edges("app->b; b->c; c->d; d")
    closure = closure_of(nodes)
    settled = Layering("stable")
    found = explain(closure, settled.plan(closure, 2), settled, 2, store_path("d"))
    assert found.reasons == (
        "it is number 1 of 4 by size",
        "it is small, so it is in the layer where it is expected to add least to updates",
    )
    assert reasons_in(plan, "data", options) == (
        "it is number 5 of 5 by size",
        "it is declared volatile",
    )
    assert reasons_in(plan, "app", options) == (
        "it is number 3 of 5 by size",
        "it is at the top of the image, so it is expected to change with the app",
    )


def test_stable_leaves_large_paths_alone() -> None:
    nodes = {name: (size * 10**6, refs) for name, (size, refs) in APP.items()}
    closure = closure_of(nodes)
    layering = Layering("stable")
    found = explain(closure, layering.plan(closure, 3), layering, 3, store_path("libc"))
    assert found.layer_paths == 1
    assert found.reasons[-1] == "it is large enough to have a layer of its own"
    found = explain(closure, layering.plan(closure, 5), layering, 5, store_path("app"))
    assert found.reasons == ("there are enough layers to give each of the 5 paths its own",)


def test_stable_by_history() -> None:
    plan = [["libc"], ["data", "lib"], ["app", "tool"]]
    old = [["libc"], ["lib", "gone"], ["data", "tool"]]
    previous = PreviousPlan(tuple(tuple(store_path(n) for n in layer) for layer in old))
    options = LayeringOptions(previous=previous)
    assert reasons_in(plan, "libc", options)[:2] == (
        "its layer is layer 1 of the previous plan, unchanged",
        "it is number 1 of 5 by size",
    )
    assert reasons_in(plan, "lib", options)[0] == (
        "it was in layer 2 of the previous plan, which can't be kept:"
        " gone is no longer in the closure"
    )
    assert reasons_in(plan, "tool", options)[0] == (
        "it was in layer 3 of the previous plan, which was split up to make room for other paths"
    )
    assert reasons_in(plan, "app", options)[0] == (
        "it is not in the previous plan: it is new, or it was rebuilt"
    )


def test_several_previous_plans() -> None:
    newest, older = (
        PreviousPlan(tuple(tuple(store_path(n) for n in layer) for layer in old))
        for old in ([["libc"], ["gone", "lib"]], [["app", "data"], ["lib", "libc"]])
    )
    options = LayeringOptions(previous=newest, older=(older,))
    plan = [["libc"], ["app", "data"], ["lib", "tool"]]
    assert reasons_in(plan, "libc", options)[0] == (
        "its layer is layer 1 of previous plan 1, unchanged"
    )
    assert reasons_in(plan, "app", options)[0] == (
        "its layer is layer 1 of previous plan 2, unchanged"
    )
    assert reasons_in(plan, "lib", options)[0] == (
        "it was in layer 2 of previous plan 1, which can't be kept: gone is no longer in the"
        " closure"
    )
    assert reasons_in(plan, "tool", options)[0] == (
        "it is not in any previous plan: it is new, or it was rebuilt"
    )
    together = [["libc", "lib"], ["app"], ["data"], ["tool"]]
    assert reasons_in(together, "data", options)[0] == (
        "it was in layer 1 of previous plan 2, which was split up to make room for other paths, or"
        " for a layer that as many previous images have"
    )


def test_stable_for_what_groups_leave() -> None:
    previous = PreviousPlan(((store_path("data"),), (store_path("libc"),)))
    groups = (Group(paths=(store_path("data"),)),)
    found = explained("libc", "explicit", 3, LayeringOptions(groups=groups, previous=previous))
    assert found.reasons[:4] == (
        "it is in no group",
        "'stable' plans the paths outside the groups, within 2 layers",
        "its layer is layer 2 of the previous plan, unchanged",
        "it is number 1 of 4 by size",
    )


def test_a_path_from_elsewhere() -> None:
    with pytest.raises(ClosureError, match="-gone is not in the closure, so it is in no layer"):
        explained("gone", "auto")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_has_a_reason_for_every_path(strategy: str) -> None:
    nodes = tied(60)
    closure: Closure = closure_of(nodes)
    options = LayeringOptions(
        groups=(Group(closure_of=(store_path("p00030"),)),),
        rest="auto",
        pipeline=parse_pipeline([["popularity_contest"], ["limit_layers", 20]]),
    )
    layering = Layering(strategy, options)
    plan = layering.plan(closure, 20)
    for number, layer in enumerate(plan.layers, 1):
        for path in layer.paths:
            found = explain(closure, plan, layering, 20, path)
            assert found.layer == number
            assert found.reasons
            assert all("\n" not in reason for reason in found.reasons)
