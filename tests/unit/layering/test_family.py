"""Plans of several images together: they share layers, and few paths are stored twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nixdock.errors import ClosureError, PlanError
from nixdock.layering import LayeringOptions, LayerPlan
from nixdock.layering.family import plan_family
from nixdock.layering.plan_history import abbreviated
from nixdock.layering.stable import plan_stable
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.store_path import StorePath
from tests.bench.products import graphs, read_graph
from tests.bench.replay import previous_plan
from tests.unit.closures import Nodes, closure_of, names, node_sets, store_path


def sub_closure(nodes: Nodes, roots: list[str], salt: str = "") -> Closure:
    kept: dict[str, None] = {}
    todo = [*roots]
    while todo:
        name = todo.pop()
        if name not in kept:
            kept[name] = None
            todo += nodes[name][1]
    return closure_of({name: nodes[name] for name in kept}, salt)


@st.composite
def families(draw: st.DrawFn) -> dict[str, Closure]:
    nodes = draw(node_sets())
    roots = st.lists(st.sampled_from(sorted(nodes)), min_size=1, max_size=4)
    count = draw(st.integers(1, 4))
    return {f"image{i}": sub_closure(nodes, draw(roots)) for i in range(count)}


def pushed(plans: Mapping[str, LayerPlan]) -> int:
    """Return the bytes that a registry holds of the images."""
    layers = {layer.paths: layer.nar_size for plan in plans.values() for layer in plan.layers}
    return sum(layers.values())


@pytest.mark.slow
@given(families(), st.integers(1, 30), st.integers(0, 3))
def test_every_plan_is_a_partition_within_its_budget(
    closures: dict[str, Closure], budget: int, volatile: int
) -> None:
    budgets = {name: budget + i for i, name in enumerate(closures)}
    some = frozenset([*next(iter(closures.values())).infos][:volatile])
    plans = plan_family(closures, budgets, LayeringOptions(volatile=some))
    assert plans.keys() == closures.keys()
    for name, plan in plans.items():
        planned = [path for layer in plan.layers for path in layer.paths]
        assert sorted(planned) == list(closures[name].infos)
        assert len(plan.layers) <= budgets[name]
        assert all(layer.paths for layer in plan.layers)


@pytest.mark.slow
@given(families(), st.integers(1, 30), st.integers(0, 2**32))
def test_the_order_of_the_images_does_not_matter(
    closures: dict[str, Closure], budget: int, seed: int
) -> None:
    shuffled = dict(random.Random(seed).sample([*closures.items()], len(closures)))
    budgets = dict.fromkeys(closures, budget)
    assert plan_family(shuffled, budgets) == plan_family(closures, budgets)


@given(node_sets(), st.integers(1, 30))
def test_twins_share_every_layer(nodes: Nodes, budget: int) -> None:
    closure = closure_of(nodes)
    plans = plan_family({"a": closure, "b": closure}, {"a": budget, "b": budget})
    assert plans["a"] == plans["b"]


def previous_of(plans: Mapping[str, LayerPlan]) -> LayeringOptions:
    """Return the options for the family after the one with `plans`."""
    newest, *others = [previous_plan(plan) for plan in plans.values()]
    return LayeringOptions(previous=newest, older=tuple(others))


def layers_of(plan: LayerPlan) -> list[tuple[StorePath, ...]]:
    return [layer.paths for layer in plan.layers]


def shared_layers(plans: Mapping[str, LayerPlan]) -> set[tuple[StorePath, ...]]:
    counts = Counter(layer for plan in plans.values() for layer in layers_of(plan))
    return {layer for layer, count in counts.items() if count > 1}


@st.composite
def updates(draw: st.DrawFn) -> tuple[dict[str, Closure], dict[str, Closure]]:
    """Two generations: packages and images have changed, come and gone."""
    nodes = draw(node_sets())
    changed = draw(st.sets(st.sampled_from(sorted(nodes))))
    generations: list[dict[str, Closure]] = []
    for renamed in (frozenset[str](), changed):
        name_of = {name: f"{name}-2" if name in renamed else name for name in nodes}
        new = {
            name_of[name]: (size, [name_of[r] for r in references])
            for name, (size, references) in nodes.items()
        }
        roots = st.lists(st.sampled_from(sorted(new)), min_size=1, max_size=4)
        images = draw(st.sets(st.sampled_from("abcd"), min_size=1))
        generations.append({name: sub_closure(new, draw(roots)) for name in sorted(images)})
    return generations[0], generations[1]


@pytest.mark.slow
@given(updates(), st.integers(1, 20), st.integers(1, 20))
def test_plans_after_others_are_partitions_within_budgets(
    generations: tuple[dict[str, Closure], dict[str, Closure]], before: int, budget: int
) -> None:
    old, new = generations
    plans = plan_family(old, dict.fromkeys(old, before))
    after = plan_family(new, dict.fromkeys(new, budget), previous_of(plans))
    assert after.keys() == new.keys()
    for name, plan in after.items():
        assert sorted(path for layer in layers_of(plan) for path in layer) == list(new[name].infos)
        assert len(plan.layers) <= budget


@pytest.mark.slow
@given(families(), st.integers(1, 30), st.integers(0, 2**32))
def test_an_unchanged_family_keeps_its_plans(
    closures: dict[str, Closure], budget: int, seed: int
) -> None:
    """Whatever the order of the previous plans."""
    budgets = dict.fromkeys(closures, budget)
    plans = plan_family(closures, budgets)
    shuffled = dict(random.Random(seed).sample([*plans.items()], len(plans)))
    assert plan_family(closures, budgets, previous_of(shuffled)) == plans


@pytest.mark.slow
@given(updates(), st.integers(1, 20), st.integers(0, 2**32))
def test_the_order_of_images_does_not_matter_after_others(
    generations: tuple[dict[str, Closure], dict[str, Closure]], budget: int, seed: int
) -> None:
    old, new = generations
    options = previous_of(plan_family(old, dict.fromkeys(old, budget)))
    shuffled = dict(random.Random(seed).sample([*new.items()], len(new)))
    budgets = dict.fromkeys(new, budget)
    assert plan_family(shuffled, budgets, options) == plan_family(new, budgets, options)


BASE: Nodes = {
    "libc": (30_000_000, []),
    **{f"lib{i:02}": (200_000 + 10_000 * i, ["libc"]) for i in range(30)},
    "runtime": (50_000_000, [f"lib{i:02}" for i in range(30)]),
    "one": (5_000_000, ["runtime", "one-lib"]),
    "one-lib": (900_000, ["libc"]),
    "two": (6_000_000, ["runtime", "two-lib"]),
    "two-lib": (800_000, ["libc"]),
}


def test_common_paths_are_in_shared_layers() -> None:
    closures = {name: sub_closure(BASE, [name]) for name in ("one", "two")}
    plans = plan_family(closures, dict.fromkeys(closures, 8))
    one, two = ({layer.paths for layer in plan.layers} for plan in plans.values())
    shared = {path for layer in one & two for path in layer}
    assert shared == set(closures["one"].infos) & set(closures["two"].infos)
    assert 2 <= len(one & two) <= 6
    assert sorted(names(plans["one"])[-2:]) == [["one"], ["one-lib"]]
    assert sorted(names(plans["two"])[-2:]) == [["two"], ["two-lib"]]


def updated(nodes: Nodes, *changed: str) -> Nodes:
    """Return the nodes with new versions of some, without their dependents."""
    name_of = {name: f"{name}-2" if name in changed else name for name in nodes}
    return {
        name_of[name]: (size, [name_of[r] for r in references])
        for name, (size, references) in nodes.items()
    }


def test_whole_layers_stay_in_all_images_that_had_them() -> None:
    closures = {name: sub_closure(BASE, [name]) for name in ("one", "two")}
    budgets = dict.fromkeys(closures, 12)
    plans = plan_family(closures, budgets)
    nodes = updated(BASE, "lib07", "one")
    new = {"one": sub_closure(nodes, ["one-2"]), "two": sub_closure(nodes, ["two"])}
    after = plan_family(new, budgets, previous_of(plans))
    for name, plan in plans.items():
        paths = set(new[name].infos)
        whole = [layer for layer in layers_of(plan) if paths.issuperset(layer)]
        assert whole
        assert [layer for layer in layers_of(after[name]) if layer in whole] == whole
    shared = {path for layer in shared_layers(after) for path in layer}
    assert shared == set(new["one"].infos) & set(new["two"].infos)


def test_images_may_come_go_and_be_renamed() -> None:
    nodes: Nodes = {**BASE, "three": (7_000_000, ["runtime", "two-lib"])}
    closures = {name: sub_closure(nodes, [name]) for name in ("one", "two", "three")}
    budgets = dict.fromkeys(closures, 12)
    two = {name: closures[name] for name in ("one", "two")}
    plans = plan_family(two, budgets)
    after = plan_family(closures, budgets, previous_of(plans))
    assert {name: after[name] for name in two} == plans
    known = {layer for plan in plans.values() for layer in layers_of(plan)}
    (new,) = [layer for layer in layers_of(after["three"]) if layer not in known]
    assert [path.name for path in new] == ["three"]
    renamed = {"uno": closures["one"], "tres": closures["three"]}
    last = plan_family(renamed, dict.fromkeys(renamed, 12), previous_of(after))
    assert last == {"uno": after["one"], "tres": after["three"]}


def test_updates_teach_each_image_its_rates() -> None:
    closures = {name: sub_closure(BASE, [name]) for name in ("one", "two")}
    budgets = dict.fromkeys(closures, 6)
    plans = plan_family(closures, budgets)
    nodes = updated(BASE, "lib07")
    new = {name: sub_closure(nodes, [name]) for name in closures}
    after = plan_family(new, budgets, previous_of(plans))
    for plan in after.values():
        assert plan.history is not None
        assert plan.history.steps == 1
        assert plan.history.of_package("lib07").changed == 1


def test_hashes_may_be_abbreviated() -> None:
    """As they are in the memory of an image."""
    closures = {name: sub_closure(BASE, [name]) for name in ("one", "two")}
    budgets = dict.fromkeys(closures, 8)
    plans = plan_family(closures, budgets)
    options = previous_of(
        {
            name: replace(
                plan,
                layers=tuple(
                    replace(layer, paths=tuple(map(abbreviated, layer.paths)))
                    for layer in plan.layers
                ),
            )
            for name, plan in plans.items()
        }
    )
    assert plan_family(closures, budgets, options) == plans


def test_no_image_gains_a_path_and_layers_are_the_same_in_names_too() -> None:
    closures = {name: sub_closure(BASE, [name]) for name in ("one", "two")}
    salted = {name: sub_closure(BASE, [name], "salt") for name in ("one", "two")}
    budgets = {"one": 6, "two": 12}
    plans, others = plan_family(closures, budgets), plan_family(salted, budgets)
    assert {n: names(p) for n, p in plans.items()} == {n: names(p) for n, p in others.items()}


def test_images_with_nothing_in_common_are_planned_as_alone() -> None:
    closures = {"a": sub_closure(BASE, ["lib00"]), "b": closure_of({"x": (5, ["y"]), "y": (9, [])})}
    plans = plan_family(closures, {"a": 9, "b": 9})
    assert names(plans["b"]) == names(plan_stable(closures["b"], 9))


@pytest.mark.slow
@pytest.mark.parametrize("budget", [24, 59, 99])
def test_real_images_share_more_than_when_planned_alone(budget: int) -> None:
    closures = {name: read_graph([*files.values()][-1]) for name, files in graphs().items()}
    closures = {name: c for name, c in closures.items() if len(c) < 140}
    budgets = dict.fromkeys(closures, budget)
    unique = {info.path: info.nar_size for closure in closures.values() for info in closure}
    least = sum(unique.values())
    family = pushed(plan_family(closures, budgets))
    alone = pushed({name: plan_stable(closure, budget) for name, closure in closures.items()})
    assert least <= family < alone
    assert family / least < 1.08


def test_references_may_lead_into_base_images_of_some() -> None:
    whole = sub_closure(BASE, ["one"])
    libc = store_path("libc")
    without = sub_closure(BASE, ["two"]).without([libc])
    plans = plan_family({"whole": whole, "without": without}, {"whole": 9, "without": 9})
    held = {path for layer in plans["without"].layers for path in layer.paths}
    assert libc not in held
    one, two = ({layer.paths for layer in plan.layers} for plan in plans.values())
    assert one & two


def test_closures_that_contradict_each_other() -> None:
    path = StorePath.parse(f"/nix/store/{'a' * 32}-x")
    closures = {str(size): Closure.of([PathInfo(path, size)]) for size in (1, 2)}
    with pytest.raises(ClosureError, match="-x has 1 bytes in one image of the family and 2 in"):
        plan_family(closures, {"1": 5, "2": 5})


@pytest.mark.parametrize("budgets", [{}, {"a": 3}, {"a": 3, "b": 0}])
def test_every_image_needs_a_budget(budgets: dict[str, int]) -> None:
    closures = dict.fromkeys(("a", "b"), closure_of({"x": (1, [])}))
    with pytest.raises(PlanError, match=r"^the image [ab] needs a budget of at least one layer"):
        plan_family(closures, budgets)


def test_a_family_of_none_and_of_empty_images() -> None:
    assert plan_family({}, {}) == {}
    plans = plan_family({"a": Closure.of(()), "b": closure_of({"x": (1, [])})}, {"a": 1, "b": 1})
    assert [len(plan.layers) for plan in plans.values()] == [0, 1]
