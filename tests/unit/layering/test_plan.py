"""Plans are partitions of a closure, and the number of store layers that an image has room for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import PlanError
from nixdock.layering.plan import LayerPlan, PlannedLayer, Planner, store_layer_budget
from nixdock.layering.popularity import plan_by_popularity
from nixdock.layering.strategies import Layering
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.store_path import StorePath

ONE, TWO, THREE = (StorePath.parse(f"/nix/store/{digit * 32}-p") for digit in "123")
CLOSURE = Closure.of([PathInfo(ONE, 1), PathInfo(TWO, 20), PathInfo(THREE, 300)])


def test_layers_and_their_paths_keep_their_order() -> None:
    plan = LayerPlan.of(CLOSURE, [[THREE, ONE], [TWO]])
    assert plan.layers == (PlannedLayer((THREE, ONE), 301), PlannedLayer((TWO,), 20))


def test_groups_may_be_read_once() -> None:
    plan = LayerPlan.of(CLOSURE, (iter(group) for group in ([ONE], [TWO, THREE])))
    assert [layer.nar_size for layer in plan.layers] == [1, 320]


def test_no_paths_are_no_layers() -> None:
    assert LayerPlan.of(Closure.of(()), ()).layers == ()


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[ONE, TWO]], "is not a partition"),
        ([], "is not a partition"),
        ([[ONE, TWO], [TWO, THREE]], "is not a partition"),
        ([[ONE, ONE, TWO]], "is not a partition"),
        ([[ONE, TWO, THREE], []], "has an empty layer"),
    ],
)
def test_groups_that_are_no_partition_are_a_bug(
    groups: list[list[StorePath]], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        LayerPlan.of(CLOSURE, groups)


def test_a_path_from_elsewhere_is_a_bug() -> None:
    part = CLOSURE.without([THREE])
    with pytest.raises((AssertionError, KeyError)):
        LayerPlan.of(part, [[ONE], [THREE]])


def test_popularity_is_a_planner() -> None:
    planner: Planner = plan_by_popularity
    assert len(planner(CLOSURE, 2).layers) == 2


@pytest.mark.parametrize(
    ("arguments", "budget"),
    [((100,), 99), ((2,), 1), ((3, 1), 1), ((3, 0, 2), 1), ((100, 10, 2), 88), ((5, 0, 0), 5)],
)
def test_the_remaining_layers_are_for_store_paths(arguments: tuple[int, ...], budget: int) -> None:
    assert store_layer_budget(*arguments) == budget


@pytest.mark.parametrize(
    ("arguments", "figures"),
    [
        (
            (1, 0, 1),
            [
                "max_layers is 1,",
                "but the top layer leaves no room for a store layer",
                "at least 2 layers are needed",
            ],
        ),
        (
            (0, 0, 1),
            [
                "max_layers is 0,",
                "but the top layer leaves no room for a store layer",
                "at least 2 layers are needed",
            ],
        ),
        (
            (-5, 0, 1),
            [
                "max_layers is -5,",
                "but the top layer leaves no room for a store layer",
                "at least 2 layers are needed",
            ],
        ),
        (
            (2, 0, 2),
            ["max_layers is 2,", "2 layers on top leave no", "at least 3 layers are needed"],
        ),
        (
            (10, 9, 1),
            ["max_layers is 10,", "9 of the base image and the top layer", "at least 11 layers"],
        ),
        (
            (3, 40, 2),
            ["max_layers is 3,", "40 of the base image and 2 layers on top", "at least 43 layers"],
        ),
    ],
)
def test_no_room_is_an_error_with_the_figures(
    arguments: tuple[int, int, int], figures: list[str]
) -> None:
    with pytest.raises(PlanError) as error:
        store_layer_budget(*arguments)
    for figure in figures:
        assert figure in str(error.value)


@given(st.integers(-5, 150), st.integers(0, 130), st.integers(0, 3))
def test_the_image_never_has_more_than_its_limit(most: int, base: int, top: int) -> None:
    try:
        budget = store_layer_budget(most, base, top)
    except PlanError as error:
        assert most <= base + top
        assert f"at least {base + top + 1} layers are needed" in str(error)
    else:
        assert budget >= 1
        assert base + budget + top == most


def test_no_plan_has_more_layers_than_runtimes_take() -> None:
    for strategy in ("stable", "pipeline"):
        assert Layering(strategy).budget(150, most_layers=125) == 124
        assert Layering(strategy).budget(150, 20, 2, most_layers=125) == 103
    assert Layering().budget(100, most_layers=125) == 99


def test_the_error_has_the_key() -> None:
    with pytest.raises(PlanError) as error:
        store_layer_budget(1)
    assert error.value.key == "max_layers"
