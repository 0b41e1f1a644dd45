"""The order of layers: large layers that rarely change at the bottom, the app on top."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering.change_model import Rate, model_of, prior_model
from nixdock.layering.clusters import clusters_of, paths_of
from nixdock.layering.order import layer_order
from nixdock.layering.reach import Reach
from nixdock.layering.top import top_depths
from tests.unit.closures import Nodes, closure_of, node_sets, store_path


def order_of(nodes: Nodes, rates: dict[str, float], top: str = "", below: str = "") -> list[str]:
    reach = Reach(closure_of(nodes))
    model = model_of(reach, {path: Rate(0.0, rates[path.name]) for path in reach.order}, 0.0)
    placed = [store_path(name) for name in below.split()]
    clusters = clusters_of(model, [path for path in reach.order if path not in placed])
    found = layer_order(
        model, clusters, reach.bits(map(store_path, top.split())), reach.cone(placed)
    )
    return [path.name for cluster in found for path in paths_of(model, cluster)]


def test_large_and_calm_below_small_and_restless() -> None:
    nodes: Nodes = {"a": (10**6, []), "b": (10**8, []), "c": (10**6, []), "d": (10**8, [])}
    rates = {"a": 0.01, "b": 0.01, "c": 0.5, "d": 0.3}
    assert order_of(nodes, rates) == ["b", "d", "a", "c"]


def test_the_top_is_last_at_any_size() -> None:
    nodes: Nodes = {"app": (10**9, []), "lib": (10, [])}
    rates = {"app": 0.1, "lib": 0.9}
    assert order_of(nodes, rates) == ["app", "lib"]
    assert order_of(nodes, rates, top="app") == ["lib", "app"]


def test_paths_that_layers_below_depend_on_cost_nothing_more() -> None:
    nodes: Nodes = {"a": (10**6, ["x"]), "b": (3 * 10**6, []), "x": (10**6, [])}
    rates = {"a": 0.01, "b": 0.02, "x": 0.5}
    assert order_of(nodes, rates) == ["b", "x", "a"]
    assert order_of(nodes, rates, below="x") == ["b", "a"]
    rates["b"] = 0.05
    assert order_of(nodes, rates, below="x") == ["a", "b"]


def test_ties_are_by_name() -> None:
    nodes: Nodes = {name: (100, []) for name in "dbca"}
    assert order_of(nodes, dict.fromkeys("abcd", 0.1)) == list("abcd")


@given(st.lists(st.tuples(st.integers(0, 10**7), st.floats(0.001, 0.2)), min_size=2, max_size=5))
def test_of_independent_layers_the_order_is_the_best(parts: list[tuple[int, float]]) -> None:
    nodes: Nodes = {f"p{i}": (size, []) for i, (size, _) in enumerate(parts)}
    reach = Reach(closure_of(nodes))
    # All have the same rate: classes average rates, which would change the weights.
    rate = parts[0][1]
    model = model_of(reach, dict.fromkeys(reach.order, Rate(0.0, rate)), 0.0)
    clusters = clusters_of(model, reach.order)

    def chain(order: object) -> float:
        weight = total = 0.0
        assert isinstance(order, (list, tuple))
        for cluster in order:
            weight += model.weight(cluster.cone)
            total += weight * (cluster.size + 20_000)
        return total

    found = chain(layer_order(model, clusters, 0))
    assert found <= min(map(chain, permutations(clusters))) * (1 + 1e-9)


@given(node_sets())
def test_all_layers_are_placed(nodes: Nodes) -> None:
    reach = Reach(closure_of(nodes))
    depths = top_depths(reach)
    model = prior_model(reach, depths)
    clusters = clusters_of(model, reach.order)
    found = layer_order(model, clusters, reach.bits(depths))
    assert sorted(map(id, found)) == sorted(map(id, clusters))
    held = [reach.order[cluster.members[0]] in depths for cluster in found]
    assert held == sorted(held)
