"""The comparison of plans, against figures computed by hand and by brute force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering import LayerPlan
from nixdock.layering.auto import plan_auto
from nixdock.layering.comparison import Figures, app_of, compare_plans
from nixdock.layering.popularity import plan_by_popularity
from nixdock.layering.reach import Reach
from nixdock.nix.closure import Closure
from nixdock.nix.store_path import StorePath
from tests.unit.closures import Nodes, closure_of, edges, node_sets, store_path, tied

CHAIN: Nodes = {"app": (10, ["lib"]), "lib": (50, ["libc"]), "libc": (100, [])}


def plan_of(closure: Closure, *layers: list[str]) -> LayerPlan:
    return LayerPlan.of(closure, [[store_path(name) for name in layer] for layer in layers])


def test_a_chain_by_hand() -> None:
    closure = closure_of(CHAIN)
    plans = {
        "good": plan_of(closure, ["libc"], ["lib"], ["app"]),
        "upside down": plan_of(closure, ["app"], ["lib"], ["libc"]),
        "two": plan_of(closure, ["libc"], ["app", "lib"]),
        "one": plan_of(closure, ["libc", "app", "lib"]),
    }
    found = compare_plans(closure, plans, [store_path("app")])
    assert found.app == (store_path("app"),)
    # app, lib and libc are rebuilt equally often: 10, 60 or 160 bytes.
    assert found.plans["good"] == Figures(3, 100, 77, 77, 10, 10)
    assert found.plans["good"] == found.least
    assert found.plans["upside down"] == Figures(3, 100, 77, 160, 10, 160)
    assert found.plans["two"] == Figures(2, 100, 93, 93, 60, 60)
    assert found.plans["one"] == Figures(1, 160, 160, 160, 160, 160)


def test_the_app_is_what_is_volatile_or_the_largest_root() -> None:
    closure = closure_of({"x": (1, ["a", "b"]), "y": (5, ["a"]), "a": (3, []), "b": (2, [])})
    reach = Reach(closure)
    assert app_of(reach) == (store_path("y"),)
    assert app_of(reach, {store_path("b"), store_path("gone")}) == (store_path("b"),)
    found = compare_plans(
        closure, {"all": plan_of(closure, ["a"], ["b"], ["x"], ["y"])}, [store_path("b")]
    )
    assert found.plans["all"].app_pull == 3
    assert found.plans["all"].app_chain == 8


def test_wrappers_and_what_they_wrap_are_the_app() -> None:
    nodes = edges("entry->bash,wrap; wrap->app,bash,conf; app->lib; lib->libc; bash->libc", conf=9)
    assert [path.name for path in app_of(Reach(closure_of(nodes)))] == ["entry", "wrap", "conf"]
    nodes = edges("entry->bash,wrap; wrap->app,bash,conf; app->lib,libc; lib; bash->libc", conf=2)
    assert [path.name for path in app_of(Reach(closure_of(nodes)))] == ["entry", "wrap", "app"]
    # What something else uses as well is no part of it.
    nodes = edges("entry->app; tool->app; app->lib,libc", lib=9)
    assert [path.name for path in app_of(Reach(closure_of(nodes)))] == ["entry"]


def test_a_program_and_its_libraries_are_not_one_app() -> None:
    # In a chain of single references, nothing tells a wrapper from a program.
    nodes = edges("hello->libc; libc->libgcc; libgcc->gcc-base")
    assert [path.name for path in app_of(Reach(closure_of(nodes)))] == ["hello"]
    # glibc refers to several paths, and only hello refers to glibc.
    nodes = edges("hello->glibc; glibc->libidn2,libgcc; libidn2->libunistring", hello=226_560)
    assert [path.name for path in app_of(Reach(closure_of(nodes)))] == ["hello"]
    nodes = edges("wrap->app; app->glibc,bash; bash->glibc; glibc->libidn2", wrap=600, app=226_560)
    assert [path.name for path in app_of(Reach(closure_of(nodes)))] == ["wrap", "app"]


def test_layers_without_bytes() -> None:
    closure = closure_of({"a": (0, []), "b": (7, [])})
    found = compare_plans(closure, {"x": plan_of(closure, ["a"], ["b"])}, [store_path("a")])
    assert found.plans["x"] == Figures(2, 7, 4, 7 * 2 // 2, 0, 7)


def test_no_paths_cost_nothing() -> None:
    found = compare_plans(Closure.of(()), {"x": LayerPlan(())})
    assert found.least == found.plans["x"] == Figures(0, 0, 0, 0, 0, 0)
    assert found.app == ()


def test_the_document_is_plain() -> None:
    closure = closure_of({"a": (4, [])})
    assert compare_plans(closure, {"x": plan_of(closure, ["a"])}).document() == {
        "app": [store_path("a")],
        "least": {
            "layers": 1,
            "largest_layer": 4,
            "rebuild_pull": 4,
            "rebuild_chain": 4,
            "app_pull": 4,
            "app_chain": 4,
        },
        "plans": {
            "x": {
                "layers": 1,
                "largest_layer": 4,
                "rebuild_pull": 4,
                "rebuild_chain": 4,
                "app_pull": 4,
                "app_chain": 4,
            }
        },
    }


def users_of(closure: Closure, path: StorePath) -> set[StorePath]:
    found = {path}
    while True:
        more = {i.path for i in closure if not found.isdisjoint(i.references)} - found
        if not more:
            return found
        found |= more


@given(node_sets(14), st.integers(1, 8))
def test_the_means_are_those_of_all_rebuilds(nodes: Nodes, budget: int) -> None:
    closure = closure_of(nodes)
    plan = plan_auto(closure, budget)
    pulls, chains, least = [], [], []
    for path in closure.infos:
        changed = users_of(closure, path)
        dirty = [not changed.isdisjoint(layer.paths) for layer in plan.layers]
        pulls.append(sum(la.nar_size for la, d in zip(plan.layers, dirty, strict=True) if d))
        chains.append(sum(layer.nar_size for layer in plan.layers[dirty.index(True) :]))
        least.append(sum(closure[p].nar_size for p in changed))
    found = compare_plans(closure, {"auto": plan})
    figures = found.plans["auto"]
    assert figures.rebuild_pull == pytest.approx(sum(pulls) / len(pulls), abs=0.5)
    assert figures.rebuild_chain == pytest.approx(sum(chains) / len(chains), abs=0.5)
    assert found.least.rebuild_pull == pytest.approx(sum(least) / len(least), abs=0.5)
    assert found.least.rebuild_pull <= figures.rebuild_pull <= figures.rebuild_chain


@pytest.mark.slow
def test_large_graphs() -> None:
    closure = closure_of(tied(20_000))
    found = compare_plans(closure, {"popularity": plan_by_popularity(closure, 99)})
    assert found.least.layers == 20_000
    assert found.plans["popularity"].rebuild_pull >= found.least.rebuild_pull
