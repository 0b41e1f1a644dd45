"""The partition by sizes and references alone: large paths, the top, and the other paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering import fresh
from nixdock.layering.change_model import prior_model
from nixdock.layering.clusters import paths_of
from nixdock.layering.fresh import large_size, partition_fresh
from nixdock.layering.reach import Reach
from nixdock.layering.top import top_depths, top_paths
from tests.bench.products import trace_of
from tests.bench.replay import replay
from tests.unit.closures import Nodes, closure_of, edges, node_sets


@pytest.mark.parametrize(
    ("sizes", "budget", "count"),
    [([10**6] * 3 + [10] * 9, 8, 3), ([10**6] * 9, 8, 0), ([10**6] * 6 + [10], 8, 6), ([], 5, 0)],
)
def test_large_paths_are_at_most_three_quarters_of_the_layers(
    sizes: list[int], budget: int, count: int
) -> None:
    threshold = large_size(sizes, budget)
    assert sum(1 for size in sizes if size >= threshold) == count


@given(st.lists(st.integers(0, 10**9)), st.integers(1, 100))
def test_the_threshold_is_on_a_coarse_scale(sizes: list[int], budget: int) -> None:
    threshold = large_size(sizes, budget)
    assert sum(1 for size in sizes if size >= threshold) <= 0.75 * budget
    step = threshold
    while step > 1024:
        step /= 1.25
    assert step == pytest.approx(1024)
    # A little more or less of everything most often leaves it where it is.
    if threshold > 1024:
        assert sum(1 for size in sizes if size >= threshold / 1.25) > int(0.75 * budget) - 1e-9


@pytest.mark.slow
@given(node_sets(), st.integers(1, 35))
def test_large_paths_are_alone(nodes: Nodes, budget: int) -> None:
    reach = Reach(closure_of({name: (size * 1000, r) for name, (size, r) in nodes.items()}))
    depths = top_depths(reach)
    found = partition_fresh(
        prior_model(reach, depths), [*reach.closure.infos], budget, top_paths(reach, depths)
    )
    assert sorted(i for cluster in found for i in cluster.members) == list(range(len(nodes)))
    assert len(found) <= budget
    threshold = large_size(reach.sizes, budget)
    if len(nodes) > budget:
        for cluster in found:
            sizes = [reach.sizes[i] for i in cluster.members]
            assert len(sizes) == 1 or max(sizes) < threshold


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("imagemagick", marks=pytest.mark.slow),
        pytest.param("php-fpm", marks=pytest.mark.slow),
        "postgres",
    ],
)
def test_when_a_dependency_comes_or_goes_few_layers_change(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moving paths for every small saving makes a plan cheaper, but changes more in the next."""
    trace = trace_of(name, "churn", 8)
    cost = replay(trace, 24, "stable")
    monkeypatch.setattr(fresh, "_LEAST_SAVED", 0.0)
    assert cost.pulled < 0.98 * replay(trace, 24, "stable").pulled


def test_without_room_the_top_is_with_the_rest() -> None:
    reach = Reach(closure_of(edges("app->a,b,c; a->z; b->z; c->z")))
    depths = top_depths(reach)
    model = prior_model(reach, depths)
    (whole,) = partition_fresh(model, reach.order, 1, top_paths(reach, depths))
    assert len(paths_of(model, whole)) == 5
