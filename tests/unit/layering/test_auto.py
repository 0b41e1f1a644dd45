"""The auto strategy: dockerTools' layers, with every tie defined."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering.auto import auto_layers, plan_auto
from nixdock.nix.closure import Closure
from nixdock.nix.store_path import StorePath
from tests.unit.closures import Nodes, chain_of, closure_of, names, node_sets, tied

CHAIN: Nodes = {"app": (10, ["lib"]), "lib": (50, ["libc"]), "libc": (100, [])}
TWO_APPS: Nodes = {
    "base.json": (1, ["app1"]),
    "cust": (2, ["app1", "app2"]),
    "app1": (30, ["lib", "libc"]),
    "app2": (40, ["lib", "data"]),
    "lib": (20, ["libc"]),
    "libc": (100, []),
    "data": (5, []),
}
SHARED: Nodes = {
    "r": (1, ["A", "B"]),
    "A": (100, ["s", "pa"]),
    "B": (90, ["s", "pb"]),
    "s": (10, []),
    "pa": (3, []),
    "pb": (4, []),
}


def layers(nodes: Nodes, budget: int) -> list[list[str]]:
    return [[path.name for path in layer] for layer in auto_layers(closure_of(nodes), budget)]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (1, [["app", "lib", "libc"]]),
        (2, [["libc"], ["app", "lib"]]),
        (3, [["libc"], ["lib"], ["app"]]),
        (4, [["libc"], ["lib"], ["app"]]),
    ],
)
def test_a_chain_is_cut_at_its_largest_paths(budget: int, expected: list[list[str]]) -> None:
    assert layers(CHAIN, budget) == expected
    assert names(plan_auto(closure_of(CHAIN), budget)) == expected


def test_of_equal_sizes_the_last_name_is_first() -> None:
    nodes: Nodes = {"x-a": (10, []), "y-b": (10, []), "z-c": (10, [])}
    assert layers(nodes, 2) == [["z-c"], ["x-a", "y-b"]]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (2, [["A", "pa", "s"], ["B", "pb", "r"]]),
        (3, [["A", "pa", "s"], ["B", "pb", "r"]]),
        (4, [["s"], ["B", "pb"], ["A", "pa"], ["r"]]),
        (5, [["pb"], ["s"], ["B"], ["A", "pa"], ["r"]]),
        (6, [["pa"], ["pb"], ["s"], ["B"], ["A"], ["r"]]),
    ],
)
def test_the_first_primary_that_does_not_fit_ends_it(
    budget: int, expected: list[list[str]]
) -> None:
    assert layers(SHARED, budget) == expected


def test_no_paths_are_no_layers() -> None:
    assert auto_layers(Closure.of(()), 1) == []


def model(closure: Closure, budget: int) -> set[frozenset[StorePath]]:
    """Apply the rule to one path after the other, with plain sets."""
    down: dict[StorePath, set[StorePath]] = {}

    def below(path: StorePath) -> set[StorePath]:
        if path not in down:
            down[path] = set()
            for reference in closure[path].references:
                down[path] |= {reference} | below(reference)
        return down[path]

    split: dict[StorePath, frozenset[StorePath]] = dict.fromkeys(closure.infos, frozenset())
    for info in sorted(closure, key=lambda i: (i.nar_size, i.path.name, i.path), reverse=True):
        primary = info.path
        users = {path for path in closure.infos if primary in below(path)}
        finer = split | {primary: frozenset([primary])}
        for path in below(primary):
            finer[path] -= users
            if not finer[path] & below(primary):
                finer[path] |= {primary}
        if len(set(finer.values())) > budget:
            break
        split = finer
    return {frozenset(p for p in split if split[p] == value) for value in split.values()}


@given(node_sets(), st.integers(1, 32))
def test_the_groups_are_those_of_the_rule(nodes: Nodes, budget: int) -> None:
    closure = closure_of(nodes)
    assert {frozenset(layer) for layer in auto_layers(closure, budget)} == model(closure, budget)


@pytest.mark.slow
@given(node_sets(), st.integers(1, 32))
def test_layers_are_ordered_by_the_size_of_their_closures(nodes: Nodes, budget: int) -> None:
    closure = closure_of(nodes)

    def closure_size(layer: list[StorePath]) -> int:
        found = set(layer)
        waiting = list(layer)
        while waiting:
            new = set(closure[waiting.pop()].references) - found
            found |= new
            waiting += new
        return sum(closure[path].nar_size for path in found)

    found = auto_layers(closure, budget)
    sizes = [(closure_size(layer), layer[0].name) for layer in found]
    assert sizes == sorted(sizes)
    assert all([p.name for p in layer] == sorted(p.name for p in layer) for layer in found)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [tied(20_000), chain_of(20_000)], ids=["tied", "chain"])
def test_large_graphs(nodes: Nodes) -> None:
    plan = plan_auto(closure_of(nodes), 99)
    assert 1 < len(plan.layers) <= 99
