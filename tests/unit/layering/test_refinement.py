"""Refinement never makes a partition more expensive, and partitions that end with it are cheap."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering.change_model import ChangeModel, Rate, model_of, prior_model
from nixdock.layering.clusters import Cluster, clusters_of, union_of
from nixdock.layering.merging import merge
from nixdock.layering.partition import partition
from nixdock.layering.reach import Reach
from nixdock.layering.refinement import refine
from nixdock.layering.top import top_depths
from tests.unit.closures import Nodes, closure_of, node_sets


def model_for(nodes: Nodes) -> ChangeModel:
    reach = Reach(closure_of(nodes))
    return prior_model(reach, top_depths(reach))


def cost(clusters: Iterable[Cluster]) -> float:
    return math.fsum(cluster.cost for cluster in clusters)


def random_nodes(count: int, seed: int) -> Nodes:
    draw = random.Random(seed)
    nodes: dict[str, tuple[int, list[str]]] = {}
    for i in range(count):
        below = draw.sample([*nodes], min(len(nodes), draw.randrange(4)))
        nodes[f"p{i:03}"] = (int(draw.lognormvariate(12.5, 1.8)), below)
    return nodes


@given(node_sets(), st.integers(1, 30), st.integers(0, 2**32))
def test_any_partition_gets_cheaper_or_stays(nodes: Nodes, budget: int, seed: int) -> None:
    model = model_for(nodes)
    pieces = clusters_of(model, model.reach.order)
    draw = random.Random(seed)
    groups: dict[int, list[Cluster]] = {}
    for piece in pieces:
        groups.setdefault(draw.randrange(budget), []).append(piece)
    before = [union_of(model, group) for group in groups.values()]
    after = refine(model, pieces, before, budget)
    assert sorted(i for cluster in after for i in cluster.members) == list(range(len(nodes)))
    assert len(after) <= budget
    assert cost(after) <= cost(before) * (1 + 1e-9)


def test_a_piece_moves_to_where_it_belongs() -> None:
    nodes: Nodes = {
        "x": (90_000_000, []), "y": (80_000_000, []),
        **{f"a{i}": (5_000_000, ["x"]) for i in range(4)},
        **{f"b{i}": (5_000_000, ["y"]) for i in range(4)},
    }  # fmt: skip
    reach = Reach(closure_of(nodes))
    model = model_of(reach, dict.fromkeys(reach.order, Rate(0.0, 0.01)), 0.0)
    pieces = {path.name: clusters_of(model, [path])[0] for path in model.reach.order}
    mixed = [["x"], ["y"], ["a0", "a1", "a2", "b3"], ["b0", "b1", "b2", "a3"]]
    before = [union_of(model, [pieces[name] for name in group]) for group in mixed]
    after = refine(model, [*pieces.values()], before, 4)
    order = model.reach.order
    assert sorted(sorted(order[i].name for i in c.members) for c in after) == [
        ["a0", "a1", "a2", "a3"], ["b0", "b1", "b2", "b3"], ["x"], ["y"],
    ]  # fmt: skip


def test_a_free_layer_is_used() -> None:
    model = model_for({"x": (90_000_000, []), "y": (80_000_000, ["x"])})
    pieces = clusters_of(model, model.reach.order)
    whole = union_of(model, pieces)
    assert len(refine(model, pieces, [whole], 1)) == 1
    assert len(refine(model, pieces, [whole], 2)) == 2


@pytest.mark.parametrize("seed", range(4))
def test_it_gains_on_merging_alone(seed: int) -> None:
    model = model_for(random_nodes(120, seed))
    pieces = clusters_of(model, model.reach.order)
    merged = merge(model, pieces, 12)
    after = refine(model, pieces, merged, 12)
    assert cost(after) < cost(merged)


@pytest.mark.slow
@pytest.mark.parametrize("count", [50, 400])
def test_a_partition_is_about_as_cheap_in_buckets_as_without(count: int) -> None:
    model = model_for(random_nodes(count, 1))
    pieces = clusters_of(model, model.reach.order)
    best = cost(refine(model, pieces, merge(model, pieces, 24), 24))
    found = partition(model, model.reach.order, 24)
    assert len(found) <= 24
    assert cost(found) <= best * 1.05
