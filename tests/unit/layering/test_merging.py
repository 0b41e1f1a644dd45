"""Merging: the cheapest pair first, until the budget is met and no merger saves anything."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nixdock.layering.change_model import ChangeModel, Rate, model_of, prior_model
from nixdock.layering.clusters import Cluster, clusters_of, paths_of, union_of
from nixdock.layering.merging import merge, merge_neighbours, mergers
from nixdock.layering.reach import Reach
from nixdock.layering.top import top_depths
from tests.unit.closures import Nodes, closure_of, node_sets, store_path, tied


def model_for(nodes: Nodes) -> ChangeModel:
    reach = Reach(closure_of(nodes))
    return prior_model(reach, top_depths(reach))


def uniform(nodes: Nodes, rate: float = 0.01) -> ChangeModel:
    reach = Reach(closure_of(nodes))
    return model_of(reach, dict.fromkeys(reach.order, Rate(0.0, rate)), 0.0)


def names_of(model: ChangeModel, clusters: list[Cluster]) -> list[list[str]]:
    return sorted([path.name for path in paths_of(model, cluster)] for cluster in clusters)


def members(clusters: list[Cluster]) -> list[int]:
    return sorted(i for cluster in clusters for i in cluster.members)


def check(model: ChangeModel, cluster: Cluster) -> None:
    paths = paths_of(model, cluster)
    assert cluster.cone == model.reach.cone(paths)
    assert cluster.size == sum(model.sizes[i] for i in cluster.members)
    assert cluster.probability == model.probability(cluster.cone)
    assert cluster.cost == model.cost(cluster.size, cluster.cone)


PAIRS: Nodes = {
    "a": (5_000_000, ["x"]), "b": (6_000_000, ["x"]), "x": (90_000_000, []),
    "c": (5_000_000, ["y"]), "d": (6_000_000, ["y"]), "y": (80_000_000, []),
}  # fmt: skip


def test_paths_that_change_together_are_merged() -> None:
    model = uniform(PAIRS)
    clusters = clusters_of(model, model.reach.order)
    found = merge(model, clusters, 4)
    assert names_of(model, found) == [["a", "b"], ["c", "d"], ["x"], ["y"]]
    for cluster in found:
        check(model, cluster)


def test_mergers_that_save_a_layer_for_nothing_are_made_although_there_is_room() -> None:
    model = uniform({f"p{i}": (100, ["x"]) for i in range(5)} | {"x": (90_000_000, [])})
    found = merge(model, clusters_of(model, model.reach.order), 6)
    assert names_of(model, found) == [[f"p{i}" for i in range(5)], ["x"]]


@given(node_sets(), st.integers(1, 35))
def test_merging_keeps_all_and_fits(nodes: Nodes, budget: int) -> None:
    model = model_for(nodes)
    found = merge(model, clusters_of(model, model.reach.order), budget)
    assert len(found) <= budget
    assert members(found) == list(range(len(nodes)))


@given(node_sets(most=12))
def test_every_merger_is_the_cheapest(nodes: Nodes) -> None:
    model = model_for(nodes)
    clusters = clusters_of(model, model.reach.order)
    alive = dict(enumerate(clusters))
    for number, step in enumerate(mergers(model, clusters), len(clusters)):
        least = min(
            union_of(model, (one, other)).cost - one.cost - other.cost
            for i, one in alive.items()
            for j, other in alive.items()
            if i < j
        )
        assert step.rise == pytest.approx(least, abs=1e-6)
        check(model, step.cluster)
        del alive[step.first], alive[step.second]
        alive[number] = step.cluster
    assert len(alive) == 1


@given(node_sets(), st.lists(st.integers(0, 3).map(lambda price: price * 1000.0), max_size=12))
def test_bounds_find_the_same_mergers(nodes: Nodes, prices: list[float]) -> None:
    """Of few clusters, all pairs are looked at; of many, bounds rule out most."""
    model = model_for(nodes)
    clusters = clusters_of(model, model.reach.order)
    assume(model.has_one_class)
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for few in (len(clusters), 0):
            patch.setattr("nixdock.layering.merging._FEW", few)
            steps = mergers(model, clusters, prices)
            found.append([(s.rise, s.first, s.second, s.cluster.members) for s in steps])
    assert found[0] == found[1]


@given(node_sets(), st.integers(1, 35))
def test_buckets_are_as_few_as_asked_for(nodes: Nodes, count: int) -> None:
    model = model_for(nodes)
    pieces = clusters_of(model, model.reach.order)
    found = merge_neighbours(model, pieces, count)
    assert len(found) == min(count, len(pieces))
    assert members(found) == list(range(len(nodes)))
    for cluster in found:
        check(model, cluster)


def test_a_bucket_holds_what_changes_about_as_often() -> None:
    nodes: Nodes = {f"p{i:02}": (100_000, [f"p{i - 1:02}"] if i else []) for i in range(60)}
    model = uniform(nodes)
    found = merge_neighbours(model, clusters_of(model, model.reach.order), 10)
    for cluster in found:
        numbers = [int(path.name[1:]) for path in paths_of(model, cluster)]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_clusters_are_by_name_and_not_by_hash() -> None:
    found = []
    for salt in "ab":
        reach = Reach(closure_of(tied(200), salt))
        model = prior_model(reach, top_depths(reach))
        pieces = clusters_of(model, reach.order)
        found.append(names_of(model, merge(model, merge_neighbours(model, pieces, 50), 9)))
    assert found[0] == found[1]


def test_the_paths_of_a_cluster_are_by_name() -> None:
    model = uniform({"b": (1, []), "a": (1, []), "c": (1, [])})
    (whole,) = merge(model, clusters_of(model, model.reach.order), 1)
    assert paths_of(model, whole) == tuple(store_path(name) for name in "abc")
