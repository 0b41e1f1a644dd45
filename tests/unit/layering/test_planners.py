"""Plans: a partition within its budget, on every graph."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import PlanError
from nixdock.layering import LayerPlan, store_layer_budget
from nixdock.layering.popularity import plan_by_popularity
from nixdock.layering.ranking import popularity_ranking
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.store_path import StorePath


def closure_of(count: int, seed: int = 0) -> Closure:
    draw = random.Random(seed)
    paths = [StorePath.parse(f"/nix/store/{i:032d}-p{i % 3}") for i in range(count)]
    return Closure.of(
        PathInfo(
            path,
            draw.randrange(100),
            references=tuple(sorted(set(draw.choices(paths[:i], k=2)))) if i else (),
        )
        for i, path in enumerate(paths)
    )


@pytest.mark.parametrize(
    ("count", "budget", "sizes"),
    [
        (4, 5, [1, 1, 1, 1]),
        (5, 5, [1, 1, 1, 1, 1]),
        (6, 5, [1, 1, 1, 1, 2]),
        (9, 5, [1, 1, 1, 1, 5]),
        (6, 1, [6]),
        (1, 1, [1]),
        (2, 1, [2]),
    ],
)
def test_around_the_budget(count: int, budget: int, sizes: list[int]) -> None:
    plan = plan_by_popularity(closure_of(count), budget)
    assert [len(layer.paths) for layer in plan.layers] == sizes


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 5))
def test_nothing_is_lost_and_nothing_doubled(count: int, budget: int, seed: int) -> None:
    closure = closure_of(count, seed)
    plan = plan_by_popularity(closure, budget)
    planned = [path for layer in plan.layers for path in layer.paths]
    assert sorted(planned) == list(closure.infos)
    assert planned == [path for path, _ in popularity_ranking(closure)]
    assert 1 <= len(plan.layers) <= budget
    assert all(layer.paths for layer in plan.layers)
    assert sum(layer.nar_size for layer in plan.layers) == closure.nar_size


def test_the_same_plan_whatever_the_inputs_order() -> None:
    infos = list(closure_of(30))
    plans = {
        plan_by_popularity(Closure.of(random.Random(seed).sample(infos, 30)), 9)
        for seed in range(5)
    }
    assert len(plans) == 1


def test_excluded_paths_are_not_planned() -> None:
    closure = closure_of(10)
    left_out = list(closure.infos)[3]
    plan = plan_by_popularity(closure.without([left_out]), 4)
    planned = {path for layer in plan.layers for path in layer.paths}
    assert planned == set(closure.infos) - {left_out}


def test_budget_counts_every_layer_of_the_image() -> None:
    assert store_layer_budget(100) == 99
    assert store_layer_budget(2) == 1
    assert store_layer_budget(100, base_layers=10, top_layers=2) == 88


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 0, 1), "max_layers is 1, but the top layer leaves no room for a store layer"),
        ((0, 0, 1), "at least 2 layers are needed"),
        ((-5, 0, 1), "max_layers is -5"),
        ((2, 0, 2), "2 layers on top leave no room .* at least 3 layers are needed"),
        ((10, 9, 1), "9 of the base image and the top layer .* at least 11 layers are needed"),
    ],
)
def test_no_room_is_an_error_with_the_figures(
    arguments: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        store_layer_budget(*arguments)


def test_a_plan_that_is_no_partition_is_a_bug() -> None:
    closure = closure_of(3)
    one, two, three = closure.infos
    for groups in ([[one, two]], [[one, two], [two, three]], [[one, two, three], []]):
        with pytest.raises(AssertionError):
            LayerPlan.of(closure, groups)
