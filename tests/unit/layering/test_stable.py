"""The stable strategy: plans of a closure, without and with a previous plan."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import LayeringError
from nixdock.layering import LayeringOptions, LayerPlan, keeping, stable
from nixdock.layering.keeping import Kept, layers_to_keep
from nixdock.layering.memory import memory_document, parse_memory
from nixdock.layering.plan_history import PlanHistory, PreviousPlan
from nixdock.layering.reach import Reach
from nixdock.layering.stable import plan_stable
from nixdock.nix.closure import Closure
from nixdock.nix.store_path import StorePath
from tests.bench.circumstances import crowded_steps, quiet_steps, replay_with_memory
from tests.bench.traces import Product, app_steps, churn_steps, single_steps, weekly_steps
from tests.unit.closures import (
    Nodes,
    chain_of,
    closure_of,
    edges,
    names,
    node_sets,
    store_path,
    tied,
)

APP: Nodes = {
    "entrypoint": (3_000, ["app", "config"]),
    "config": (12_000, ["app"]),
    "app": (20_000_000, ["lib", "tool", "data", "text", "more"]),
    "text": (70_000, []),
    "more": (80_000, []),
    "tool": (60_000, ["lib"]),
    "lib": (300_000, ["libc"]),
    "data": (40_000_000, []),
    "libc": (30_000_000, []),
    **{f"small{i}": (9_000 + i, ["libc"]) for i in range(5)},
}
APP_WITH_ALL = {**APP, "tool": (60_000, ["lib", *(f"small{i}" for i in range(5))])}


def previous_of(plan: LayerPlan) -> PreviousPlan:
    return PreviousPlan(tuple(layer.paths for layer in plan.layers), plan.history or PlanHistory())


def after(
    plan: LayerPlan, closure: Closure, budget: int, volatile: frozenset[StorePath] = frozenset()
) -> LayerPlan:
    return plan_stable(
        closure, budget, LayeringOptions(previous=previous_of(plan), volatile=volatile)
    )


def assert_is_plan(plan: LayerPlan, closure: Closure, budget: int) -> None:
    planned = [path for layer in plan.layers for path in layer.paths]
    assert sorted(planned) == list(closure.infos)
    assert len(plan.layers) <= budget
    assert all(layer.paths for layer in plan.layers)


def test_few_paths_are_alone_the_app_on_top() -> None:
    found = names(plan_stable(closure_of(APP_WITH_ALL), 14))
    assert all(len(layer) == 1 for layer in found)
    assert found.index(["libc"]) < found.index(["lib"]) < found.index(["tool"])
    assert sorted(found[-3:]) == [["app"], ["config"], ["entrypoint"]]
    assert found[0] in (["data"], ["libc"])


def test_large_paths_are_alone_and_the_small_top_is_together() -> None:
    found = names(plan_stable(closure_of(APP_WITH_ALL), 6))
    assert [sorted(layer) for layer in found[-2:]] == [["app"], ["config", "entrypoint"]]
    assert {("data",), ("libc",), ("lib",)} <= {tuple(layer) for layer in found}


def test_a_large_root_is_alone() -> None:
    nodes = {f"root{i}": (200_000_000 + i, ["libc"]) for i in range(3)}
    nodes |= {f"small{i}": (1000, ["libc"]) for i in range(20)} | {"libc": (30_000_000, [])}
    found = names(plan_stable(closure_of(nodes), 8))
    assert {("root0",), ("root1",), ("root2",), ("libc",)} <= {tuple(layer) for layer in found}


def test_of_many_roots_the_one_with_the_largest_closure_is_the_app() -> None:
    nodes: Nodes = {
        "app": (5_000, ["lib", "libc"]),
        "lib": (50_000_000, ["libc"]),
        "libc": (30_000_000, []),
        **{f"tool{i:02}": (4_000 + i, ["libc"]) for i in range(20)},
    }
    found = names(plan_stable(closure_of(nodes), 5))
    assert found[-1] == ["app"]


def test_volatile_paths_and_all_above_them_are_on_top() -> None:
    nodes = edges("a->b; b->c; c->d; d->e; e->f; f->g; g->h", h=50_000_000, g=900_000)
    closure = closure_of({**nodes, **{f"x{i}": (1000, ["h"]) for i in range(9)}})
    volatile = frozenset([store_path("e"), StorePath.parse(f"/nix/store/{'z' * 32}-gone")])
    found = names(plan_stable(closure, 6, LayeringOptions(volatile=volatile)))
    assert set("abcde") <= set(found[-1])
    assert not {"f", "g", "h"} & set(found[-1])


@given(node_sets(), st.integers(1, 35), st.integers(0, 6))
def test_every_plan_is_a_partition(nodes: Nodes, budget: int, volatile: int) -> None:
    closure = closure_of(nodes)
    options = LayeringOptions(volatile=frozenset([*closure.infos][:volatile]))
    assert_is_plan(plan_stable(closure, budget, options), closure, budget)


@given(node_sets(), st.integers(1, 35), st.integers(1, 35))
def test_an_unchanged_closure_has_the_identical_plan(nodes: Nodes, budget: int, more: int) -> None:
    closure = closure_of(nodes)
    plan = plan_stable(closure, budget)
    assert after(plan, closure, budget) == plan
    assert after(plan, closure, budget + more) == plan


@given(node_sets(), node_sets(), st.integers(1, 35), st.integers(1, 35), st.integers(0, 2**32))
def test_any_previous_plan_gives_a_plan(
    nodes: Nodes, others: Nodes, budget: int, before: int, seed: int
) -> None:
    closure = closure_of(nodes)
    draw = random.Random(seed)
    # Part of the paths are the same, part have another hash, part other sizes and references.
    old = closure_of(others, draw.choice(["", "salt"]))
    plan = plan_stable(old, before)
    renewed = after(plan, closure, budget)
    assert_is_plan(renewed, closure, budget)
    again = after(renewed, closure, budget)
    assert again == renewed


@given(node_sets(), st.integers(1, 35), st.integers(0, 2**32))
def test_arbitrary_layers_are_a_previous_plan(nodes: Nodes, budget: int, seed: int) -> None:
    closure = closure_of(nodes)
    draw = random.Random(seed)
    paths = [*closure.infos, *(store_path(f"gone{i}") for i in range(3))]
    draw.shuffle(paths)
    layers: list[list[StorePath]] = [[] for _ in range(draw.randint(1, 12))]
    for path in paths:
        draw.choice(layers).append(path)
    previous = PreviousPlan(tuple(tuple(layer) for layer in layers))
    renewed = plan_stable(closure, budget, LayeringOptions(previous=previous))
    assert_is_plan(renewed, closure, budget)
    whole = [layer for layer in previous.layers if layer and all(p in closure for p in layer)]
    others = len(closure) - sum(map(len, whole))
    if len(whole) + others <= budget:
        assert {layer.paths for layer in renewed.layers} >= set(whole)


def product(count: int = 150, seed: int = 0) -> Product:
    draw = random.Random(seed)
    nodes: dict[str, tuple[int, list[str]]] = {}
    for i in range(count):
        below = draw.sample([*nodes], min(len(nodes), draw.randrange(5)))
        nodes[f"p{i:03}-1.{i}"] = (int(draw.lognormvariate(12.5, 1.8)), below)
    return Product.of("product", closure_of(nodes))


def replayed(trace: Sequence[Product], budget: int) -> list[tuple[Closure, LayerPlan]]:
    found: list[tuple[Closure, LayerPlan]] = []
    for step in trace:
        closure = step.closure()
        plan = after(found[-1][1], closure, budget) if found else plan_stable(closure, budget)
        found.append((closure, plan))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("budget", [1, 2, 24, 99, 400])
@pytest.mark.parametrize("steps", [app_steps, churn_steps, single_steps, weekly_steps])
def test_whole_layers_stay_and_the_unbroken_prefix_keeps_its_place(
    steps: object, budget: int
) -> None:
    assert callable(steps)
    trace = replayed([*steps(product(), 12)], budget)
    for (_, before), (closure, plan) in pairwise(trace):
        assert_is_plan(plan, closure, budget)
        old = [layer.paths for layer in before.layers]
        new = [layer.paths for layer in plan.layers]
        whole = [layer for layer in old if all(path in closure for path in layer)]
        gone = [layer for layer in whole if layer not in new]
        # Only a lack of room, as when a package is added, takes a layer apart.
        others = len(closure) - sum(map(len, whole))
        assert not gone or len(whole) + others > budget
        prefix = next((i for i, layer in enumerate(old) if layer not in new), len(old))
        assert new[:prefix] == old[:prefix]


@pytest.mark.slow
def test_clusters_of_the_other_paths_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """That changes no plan."""
    used = []

    def without_clusters(*arguments: Any) -> Kept:
        kept = layers_to_keep(*arguments)
        used.append(kept.others is not None)
        return Kept(kept.layers)

    trace = [step.closure() for step in churn_steps(product(400), 4)]
    for before, closure in pairwise(trace):
        plan = plan_stable(before, 25)
        found = after(plan, closure, 25)
        with monkeypatch.context() as patch:
            patch.setattr(stable, "layers_to_keep", without_clusters)
            assert after(plan, closure, 25) == found
    assert any(used)


@pytest.mark.parametrize("budget", [1, 2, 10, 20])
def test_beside_very_many_paths_dissolved_layers_stay_together(
    budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, closure = (step.closure() for step in churn_steps(product(60), 2))
    plan = plan_stable(before, 30)
    whole = [x.paths for x in plan.layers if all(path in closure for path in x.paths)]
    found = []

    def watched(*arguments: Any) -> Kept:
        found.append(layers_to_keep(*arguments))
        return found[-1]

    monkeypatch.setattr(stable, "layers_to_keep", watched)
    monkeypatch.setattr(keeping, "_MANY", 0)
    assert_is_plan(after(plan, closure, budget), closure, budget)
    (kept,) = found
    assert kept.others is not None
    reach = Reach(closure)
    clusters = {frozenset(reach.order[i] for i in each.members) for each in kept.others}
    dissolved = [layer for layer in whole if layer not in kept.layers]
    assert dissolved
    assert clusters.issuperset(map(frozenset, dissolved))


def test_a_release_of_the_app_transfers_the_app_alone() -> None:
    for budget in (24, 59, 99):
        trace = replayed([*app_steps(product(), 8)], budget)
        for (old, before), (new, plan) in pairwise(trace):
            fresh = {info.path for info in new if info.path not in old}
            known = {layer.paths for layer in before.layers}
            changed = [layer for layer in plan.layers if layer.paths not in known]
            assert {path for layer in changed for path in layer.paths} == fresh
            assert list(plan.layers[-len(changed) :]) == changed


def test_a_package_that_proves_volatile_is_set_apart() -> None:
    base = product()
    # A package in a layer with others, that now changes with every release.
    closure = base.closure()
    reach = Reach(closure)
    path = min(
        (path for layer in plan_stable(closure, 24).layers[:-2] for path in layer.paths[5:]),
        key=lambda path: reach.users([path]).bit_count(),
    )
    key = path.name.partition("-")[0]
    source = base.packages[key].source
    trace = [base]
    for _ in range(20):
        trace.append(trace[-1].updated("app", source))
    closure, plan = replayed(trace, 24)[-1]
    (volatile,) = (p for p in closure.infos if p.name.startswith(f"{key}-"))
    (layer,) = (layer for layer in plan.layers if volatile in layer.paths)
    old = trace[-2].closure()
    assert not [path for path in layer.paths if path in old]
    assert plan.history is not None
    assert plan.history.of_package(key).changed == 20
    assert plan.history.of_package("app").changed == 20
    assert plan.history.steps == 20


@pytest.mark.parametrize(("before", "budget"), [(99, 24), (99, 98), (24, 99), (5, 1), (1, 5)])
def test_the_budget_may_have_changed(before: int, budget: int) -> None:
    closure = product().closure()
    plan = plan_stable(closure, before)
    renewed = after(plan, closure, budget)
    assert_is_plan(renewed, closure, budget)
    kept = {layer.paths for layer in renewed.layers} & {layer.paths for layer in plan.layers}
    if budget >= before:
        assert renewed == plan
    else:
        largest = max(plan.layers, key=lambda layer: layer.nar_size)
        assert budget == 1 or largest.paths in kept
    if (before, budget) == (99, 98):
        assert len(kept) >= 97


@pytest.mark.parametrize(
    ("before", "budget", "most"), [(99, 24, 0.43), (99, 60, 0.11), (99, 98, 0.001), (60, 24, 0.35)]
)
def test_dissolved_layers_are_small_and_their_paths_do_not_share_one(
    before: int, budget: int, most: float
) -> None:
    closure = product().closure()
    plan = plan_stable(closure, before)
    renewed = after(plan, closure, budget)
    old = {layer.paths for layer in plan.layers}
    new = [layer.nar_size for layer in renewed.layers if layer.paths not in old]
    kept = len(renewed.layers) - len(new)
    assert budget - kept >= max(1, (before - kept) // 12)
    assert sum(new) < most * sum(layer.nar_size for layer in renewed.layers)


@pytest.mark.parametrize("budget", [24, 59])
def test_newcomers_get_layers_of_their_own_although_all_are_used(budget: int) -> None:
    trace = replayed([*crowded_steps(5)], budget)
    (_, before), *_ = trace
    assert len(before.layers) == budget
    for (old, before), (new, plan) in pairwise(trace[1:]):
        (app,) = (path for path in new.infos if path.name.startswith("app-"))
        known = {layer.paths for layer in before.layers}
        changed = [layer for layer in plan.layers if layer.paths not in known]
        # Whatever else is updated, the app is alone, and a newcomer shares with few others.
        assert (app,) in [layer.paths for layer in changed]
        least = sum(info.nar_size for info in new if info.path not in old)
        assert sum(layer.nar_size for layer in changed) <= (2 if budget == 59 else 11) * least


def test_large_paths_do_not_share_while_layers_are_free() -> None:
    *_, (closure, plan) = replayed([*quiet_steps(8)], 99)
    large = {path for path in closure.infos if closure[path].nar_size >= 13_000_000}
    assert large <= {layer.paths[0] for layer in plan.layers if len(layer.paths) == 1}


def test_of_several_previous_images_the_plan_keeps_what_most_have() -> None:
    closure = product().closure()
    plans = [previous_of(plan_stable(closure, budget)) for budget in (30, 24, 24)]
    first, second, third = plans
    options = LayeringOptions(previous=first, older=(second, third))
    found = {layer.paths for layer in plan_stable(closure, 40, options).layers}
    assert found >= set(second.layers)
    # Between two, the newest decides.
    options = LayeringOptions(previous=first, older=(second,))
    found = {layer.paths for layer in plan_stable(closure, 40, options).layers}
    assert found >= set(first.layers)
    assert plan_stable(closure, 40, LayeringOptions(previous=first, older=(first,))) == plan_stable(
        closure, 40, LayeringOptions(previous=first)
    )


def test_an_image_that_clients_do_not_have_does_no_harm_beside_the_one_they_have() -> None:
    trace = [step.closure() for step in weekly_steps(product(), 14, 2)]
    cost = {
        memory: replay_with_memory(trace, 24, memory).pulled
        for memory in ("none", "two versions back", "two versions back, and last")
    }
    assert cost["two versions back, and last"] < cost["none"]
    assert cost["two versions back, and last"] < cost["two versions back"]


def test_base_layers_below_do_not_break_the_prefix() -> None:
    closure = product().closure()
    plan = plan_stable(closure, 24)
    base = tuple(store_path(f"base{i}") for i in range(3))
    previous = PreviousPlan((base, *previous_of(plan).layers), PlanHistory())
    renewed = plan_stable(closure, 24, LayeringOptions(previous=previous))
    assert renewed.layers == plan.layers


def test_the_order_in_a_kept_layer_is_that_of_the_image() -> None:
    closure = closure_of(edges("app->lib; lib->libc; data"))
    layers = (
        (store_path("libc"), store_path("data")),
        (store_path("lib"),),
        (store_path("app"),),
    )
    renewed = plan_stable(closure, 3, LayeringOptions(previous=PreviousPlan(layers)))
    assert tuple(layer.paths for layer in renewed.layers) == layers


def test_a_previous_plan_can_not_have_a_path_twice() -> None:
    layers = previous_of(plan_stable(product().closure(), 24)).layers
    with pytest.raises(LayeringError, match=r"is already in layers\[3\]"):
        PreviousPlan((*layers, layers[3]))


def test_a_previous_plan_of_another_image_is_a_clean_start() -> None:
    closure = closure_of(APP_WITH_ALL)
    other = PreviousPlan(((store_path("x"), store_path("y")), (store_path("z"),)))
    renewed = plan_stable(closure, 6, LayeringOptions(previous=other))
    assert_is_plan(renewed, closure, 6)
    assert renewed == plan_stable(closure, 6, LayeringOptions(previous=PreviousPlan(())))


def test_the_memory_in_the_image_is_all_that_an_update_needs() -> None:
    trace = [step.closure() for step in weekly_steps(product(), 6)]
    plan = plan_stable(trace[0], 24)
    by_memory = plan
    for closure in trace[1:]:
        plan = after(plan, closure, 24)
        assert by_memory.history is not None
        layers = [layer.paths for layer in by_memory.layers]
        previous = parse_memory(memory_document(layers, by_memory.history, "x"), "x")
        options = LayeringOptions(previous=previous).for_closure(closure)
        by_memory = plan_stable(closure, 24, options)
        assert by_memory == plan


@given(node_sets(), st.integers(1, 20), st.integers(0, 100))
def test_the_order_of_the_input_does_not_matter(nodes: Nodes, budget: int, seed: int) -> None:
    shuffled = dict(random.Random(seed).sample([*nodes.items()], len(nodes)))
    assert plan_stable(closure_of(shuffled), budget) == plan_stable(closure_of(nodes), budget)


@given(node_sets(), st.integers(1, 20), st.text("abc", max_size=2))
def test_names_decide_and_not_hashes(nodes: Nodes, budget: int, salt: str) -> None:
    plan = plan_stable(closure_of(nodes), budget)
    assert names(plan_stable(closure_of(nodes, salt), budget)) == names(plan)


@pytest.mark.slow
def test_names_decide_among_hundreds_of_ties() -> None:
    plans = [plan_stable(closure_of(tied(500), salt), 30) for salt in "abc"]
    assert names(plans[0]) == names(plans[1]) == names(plans[2])


@pytest.mark.slow
@pytest.mark.parametrize("budget", [1, 24, 124])
def test_a_chain_of_20_000_paths(budget: int) -> None:
    closure = closure_of(chain_of(20_000))
    plan = plan_stable(closure, budget)
    assert_is_plan(plan, closure, budget)
    assert after(plan, closure, budget) == plan


def test_an_empty_closure_has_an_empty_plan() -> None:
    empty = Closure.of(())
    plan = plan_stable(empty, 5)
    assert plan.layers == ()
    full = plan_stable(closure_of(APP), 5)
    assert after(full, empty, 5).layers == ()
    assert_is_plan(after(plan, closure_of(APP), 5), closure_of(APP), 5)
