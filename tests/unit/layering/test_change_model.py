"""The probabilities of changes, from the graph or from rates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering.change_model import (
    LAYER_OVERHEAD,
    Rate,
    model_of,
    prior_model,
    prior_rates,
    usual_rate,
)
from nixdock.layering.reach import Reach
from nixdock.layering.top import top_depths
from tests.unit.closures import Nodes, closure_of, edges, node_sets, store_path

SHAPE = closure_of(
    edges("root->wrap,conf; wrap->app; conf->app; app->lib,x,y,z; lib->libc; libc->base")
)


def test_rates_fall_with_depth() -> None:
    reach = Reach(SHAPE)
    rates = prior_rates(reach, top_depths(reach))
    by_name = {path.name: rate for path, rate in rates.items()}
    found = [(by_name[name].app, by_name[name].other) for name in ("root", "app")]
    assert found == [pytest.approx((0.9, 0.27)), pytest.approx((0.225, 0.0675))]
    assert by_name["libc"] == Rate(0.0, 0.01)


def test_two_paths_are_updated_at_a_time_in_closures_of_any_size() -> None:
    assert usual_rate(0) == usual_rate(100) == 0.01
    assert usual_rate(1000) == usual_rate(1023) == 2 / 1024


def test_probability_is_that_anything_in_the_cone_changes() -> None:
    reach = Reach(SHAPE)
    rates = {path: Rate(0.0, 0.1) for path in reach.order}
    rates[store_path("app")] = Rate(0.5, 0.2)
    model = model_of(reach, rates, 0.25)
    libc = reach.cone([store_path("libc")])
    assert model.probability(libc) == pytest.approx(0.75 * (1 - 0.9**2))
    wrap = reach.cone([store_path("wrap")])
    assert model.probability(wrap) == pytest.approx(0.25 * 0.5 + 0.75 * (1 - 0.8 * 0.9**7))
    assert model.cost(1_000_000, libc) == pytest.approx(
        (1_000_000 + LAYER_OVERHEAD) * model.probability(libc)
    )
    assert model.top == reach.bits([store_path("app")])
    assert model.probability(0) == 0.0


def test_paths_that_are_certain_to_change() -> None:
    reach = Reach(SHAPE)
    model = model_of(reach, dict.fromkeys(reach.order, Rate(1.0, 1.0)), 0.5)
    assert model.probability(reach.cone([store_path("root")])) == 1.0
    assert model.weight(reach.cone([store_path("base")])) == 2.0


@pytest.mark.slow
@given(node_sets(), st.integers(1, 2**30), st.integers(1, 2**30))
def test_more_below_is_never_less_likely_to_change(nodes: Nodes, one: int, other: int) -> None:
    reach = Reach(closure_of(nodes))
    whole = (1 << len(reach.order)) - 1
    model = prior_model(reach, top_depths(reach))
    smaller = model.probability(one & whole)
    larger = model.probability((one | other) & whole)
    assert 0.0 <= smaller <= larger <= 1.0
    assert model.weight(one & whole) <= model.weight((one | other) & whole)


def test_sizes_are_coarse_without_a_history() -> None:
    one, other = ({"a": (size, ["b"]), "b": (size // 3, [])} for size in (9_000_000, 9_200_000))
    models = [
        prior_model(reach, top_depths(reach))
        for reach in (Reach(closure_of(one)), Reach(closure_of(other)))
    ]
    assert models[0].sizes == models[1].sizes
