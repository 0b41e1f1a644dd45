"""The popularity strategy: one layer for each of the most popular paths, one for the rest."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering import LayerPlan
from nixdock.layering.popularity import plan_by_popularity
from nixdock.layering.ranking import popularity_ranking
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.store_path import StorePath

PATHS = [StorePath.parse(f"/nix/store/{i:032d}-p{i % 3}") for i in range(40)]


def chain_of(count: int) -> Closure:
    """Return a chain, in which the last path is the most popular; sizes are powers of two."""
    return Closure.of(
        PathInfo(path, 2**i, references=tuple(PATHS[i + 1 : count][:1]))
        for i, path in enumerate(PATHS[:count])
    )


@st.composite
def closures(draw: st.DrawFn) -> Closure:
    count = draw(st.integers(1, len(PATHS)))
    draw_references = random.Random(draw(st.integers(0, 2**32)))
    return Closure.of(
        PathInfo(
            path,
            draw_references.randrange(100),
            references=tuple(sorted(set(draw_references.choices(PATHS[: i + 1], k=2)))),
        )
        for i, path in enumerate(PATHS[:count])
    )


def planned_paths(plan: LayerPlan) -> list[StorePath]:
    return [path for layer in plan.layers for path in layer.paths]


@pytest.mark.parametrize(
    ("count", "budget", "sizes"),
    [
        (4, 5, [1, 1, 1, 1]),
        (5, 5, [1, 1, 1, 1, 1]),
        (6, 5, [1, 1, 1, 1, 2]),
        (9, 5, [1, 1, 1, 1, 5]),
        (1, 2, [1]),
        (2, 2, [1, 1]),
        (3, 2, [1, 2]),
        (1, 1, [1]),
        (2, 1, [2]),
        (6, 1, [6]),
        (1, 99, [1]),
    ],
)
def test_around_the_budget(count: int, budget: int, sizes: list[int]) -> None:
    plan = plan_by_popularity(chain_of(count), budget)
    assert [len(layer.paths) for layer in plan.layers] == sizes


def test_the_most_popular_path_is_the_lowest_layer() -> None:
    *alone, rest = plan_by_popularity(chain_of(6), 4).layers
    assert [(layer.paths, layer.nar_size) for layer in alone] == [
        ((PATHS[5],), 32),
        ((PATHS[4],), 16),
        ((PATHS[3],), 8),
    ]
    assert rest.paths == (PATHS[2], PATHS[1], PATHS[0])
    assert rest.nar_size == 1 + 2 + 4


@given(closures(), st.integers(1, 45))
def test_nothing_is_lost_and_nothing_doubled(closure: Closure, budget: int) -> None:
    plan = plan_by_popularity(closure, budget)
    assert sorted(planned_paths(plan)) == list(closure.infos)
    assert len(plan.layers) == min(budget, len(closure))
    assert all(layer.paths for layer in plan.layers)
    for layer in plan.layers:
        assert layer.nar_size == sum(closure[path].nar_size for path in layer.paths)


@given(closures(), st.integers(1, 45))
def test_layers_follow_the_ranking(closure: Closure, budget: int) -> None:
    plan = plan_by_popularity(closure, budget)
    assert planned_paths(plan) == [path for path, _ in popularity_ranking(closure)]
    assert all(len(layer.paths) == 1 for layer in plan.layers[:-1])


@given(closures(), st.integers(1, 45), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    closure: Closure, budget: int, draw: random.Random
) -> None:
    infos = list(closure)
    shuffled = Closure.of(draw.sample(infos, len(infos)))
    assert plan_by_popularity(shuffled, budget) == plan_by_popularity(closure, budget)


@given(closures(), st.integers(1, 45), st.data())
def test_excluded_paths_are_in_no_layer(closure: Closure, budget: int, data: st.DataObject) -> None:
    excluded = data.draw(st.sets(st.sampled_from(list(closure.infos))))
    plan = plan_by_popularity(closure.without(excluded), budget)
    assert sorted(planned_paths(plan)) == sorted(set(closure.infos) - excluded)


def test_no_paths_are_no_layers() -> None:
    assert plan_by_popularity(Closure.of(()), 1).layers == ()
