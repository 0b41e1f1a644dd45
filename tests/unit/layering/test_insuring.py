from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering.change_model import ChangeModel, prior_model
from nixdock.layering.clusters import Cluster, cluster_of
from nixdock.layering.insuring import insure
from nixdock.layering.reach import Reach
from nixdock.layering.top import top_depths
from nixdock.nix.closure import Closure
from tests.unit.closures import Nodes, closure_of


def model_of_closure(closure: Closure) -> ChangeModel:
    reach = Reach(closure)
    return prior_model(reach, top_depths(reach))


def sets(clusters: list[Cluster]) -> set[frozenset[int]]:
    return {frozenset(cluster.members) for cluster in clusters}


@st.composite
def partitions(draw: st.DrawFn, count: int) -> list[list[int]]:
    numbers = draw(st.permutations(range(count)))
    homes = [draw(st.integers(0, 5)) for _ in numbers]
    return [
        group
        for home in range(6)
        if (group := [n for n, at in zip(numbers, homes, strict=True) if at == home])
    ]


LIBRARIES: Nodes = {
    f"lib{n:02}-1": (10_000 << n % 5, (f"lib{n - 1:02}-1",) if n else ()) for n in range(9)
}
APP: Nodes = {"app-1": (200_000, tuple([*LIBRARIES][::2]))}
MODEL = model_of_closure(closure_of({**LIBRARIES, **APP}))
COUNT = len(MODEL.reach.order)


@given(partitions(COUNT), partitions(COUNT), st.integers(0, 3), st.floats(0, 1))
def test_every_path_stays_in_one_of_the_allowed_clusters(
    planned: list[list[int]], fresh: list[list[int]], spare: int, risk: float
) -> None:
    clusters = [cluster_of(MODEL, members) for members in planned]
    groups = [cluster_of(MODEL, members) for members in fresh]
    budget = len(clusters) + spare
    insured = insure(MODEL, clusters, groups, budget, risk)
    assert sorted(i for cluster in insured for i in cluster.members) == [*range(COUNT)]
    assert len(insured) <= budget
    for cluster in insured:
        again = cluster_of(MODEL, cluster.members)
        assert (again.size, again.cone, again.probability) == (
            cluster.size,
            cluster.cone,
            cluster.probability,
        )


def cost(clusters: list[Cluster], groups: list[Cluster], risk: float) -> float:
    """Return what an update is expected to transfer, if `risk` is the chance of a fresh plan."""
    whole = sets(groups)
    return sum(
        c.cost + (0 if frozenset(c.members) in whole else risk * c.size * (1 - c.probability))
        for c in clusters
    )


@given(partitions(COUNT), partitions(COUNT), st.floats(0, 1))
def test_insurance_never_costs_more_than_the_risk(
    planned: list[list[int]], fresh: list[list[int]], risk: float
) -> None:
    clusters = [cluster_of(MODEL, members) for members in planned]
    groups = [cluster_of(MODEL, members) for members in fresh]
    insured = insure(MODEL, clusters, groups, len(clusters), risk)
    assert cost(insured, groups, risk) <= cost(clusters, groups, risk) * (1 + 1e-9)


@given(partitions(COUNT), partitions(COUNT))
def test_a_great_risk_brings_the_fresh_plan_back(
    planned: list[list[int]], fresh: list[list[int]]
) -> None:
    clusters = [cluster_of(MODEL, members) for members in planned]
    groups = [cluster_of(MODEL, members) for members in fresh]
    budget = len(clusters) + len(groups)
    assert sets(insure(MODEL, clusters, groups, budget, 1e6)) == sets(groups)


def test_no_risk_is_not_insured_if_the_layers_are_the_best() -> None:
    best = [cluster_of(MODEL, [i]) for i in range(COUNT)]
    groups = [cluster_of(MODEL, range(COUNT))]
    assert sets(insure(MODEL, best, groups, COUNT, 0.0)) == sets(best)
    assert sets(insure(MODEL, best, groups, COUNT, 1.0)) == sets(groups)


def test_large_paths_take_free_layers_but_leave_no_group() -> None:
    model = model_of_closure(closure_of({"large-1": (2 << 20, ()), "small-1": (100, ())}))
    both = [cluster_of(model, [0, 1])]
    assert sets(insure(model, both, [], 2, 0.0)) == {frozenset([0]), frozenset([1])}
    assert sets(insure(model, both, [], 1, 0.0)) == sets(both)
    assert sets(insure(model, both, both, 2, 0.0)) == sets(both)
