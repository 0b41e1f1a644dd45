"""Condensing many paths with sketches of their cones, against exact cones."""

from __future__ import annotations

import random
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering.change_model import ChangeModel, Rate, model_of, prior_model
from nixdock.layering.clusters import clusters_of
from nixdock.layering.condensing import condense, sketched
from nixdock.layering.merging import merge_neighbours
from nixdock.layering.reach import Reach
from nixdock.layering.top import top_depths
from tests.bench.large import pareto_closure
from tests.unit.closures import Nodes, closure_of, node_sets

SIZE = 3000


@pytest.fixture
def exact_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nixdock.layering.condensing._FEW", 0)


@pytest.fixture(scope="module")
def large() -> ChangeModel:
    reach = Reach(pareto_closure(SIZE))
    return prior_model(reach, top_depths(reach))


def drawn_model(nodes: Nodes, seed: int) -> ChangeModel:
    """Return a model with several classes, two of which change with the app."""
    reach = Reach(closure_of(nodes))
    draw = random.Random(seed)
    rates = {
        path: Rate(draw.choice((0.0, 0.0, 0.5, 0.9)), draw.choice((0.001, 0.02, 0.3)))
        for path in reach.order
    }
    return model_of(reach, rates, 0.5)


@given(node_sets(), st.integers(0, 2**32))
def test_sketches_of_few_paths_are_exact(nodes: Nodes, seed: int) -> None:
    model = drawn_model(nodes, seed)
    sketch, marks = sketched(model, len(nodes))
    assert sorted(marks) == [1 << i for i in range(len(nodes))]
    for cone, columns in zip(model.reach.down, model.reach.cones_below(marks), strict=True):
        assert sketch.probability(columns) == model.probability(cone)


@given(node_sets(), st.integers(0, 2**32), st.integers(1, 30))
def test_sketches_are_small_and_keep_classes_apart(nodes: Nodes, seed: int, columns: int) -> None:
    model = drawn_model(nodes, seed)
    sketch, marks = sketched(model, columns)
    width = max(mark.bit_length() for mark in marks)
    assert width <= max(columns, len(model.classes))
    for i, mark in enumerate(marks):
        assert mark.bit_count() == 1
        before = [bool(rates.members >> i & 1) for rates in model.classes]
        assert [bool(rates.members & mark) for rates in sketch.classes] == before
        assert bool(model.top >> i & 1) == bool(sketch.top & mark)


def test_probabilities_of_sketches_are_close(large: ChangeModel) -> None:
    sketch, marks = sketched(large, 512)
    draw = random.Random(1)
    for count in (1, 2, 10, 100, 1000, SIZE):
        chosen = draw.sample(range(SIZE), count)
        cone = sum(1 << i for i in chosen)
        columns = 0
        for i in chosen:
            columns |= marks[i]
        # There are 256 columns for the largest class; the error shrinks with their square root.
        assert sketch.probability(columns) == pytest.approx(
            large.probability(cone), rel=0.15 if count > 2 else 1e-9
        )


@given(node_sets(), st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 40))
def test_condensed_clusters_are_a_partition_with_exact_cones(
    nodes: Nodes, seed: int, count: int, columns: int
) -> None:
    model = drawn_model(nodes, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nixdock.layering.condensing._FEW", 0)
        found = condense(model, model.reach.order, count, columns)
    if columns >= len(nodes):
        pieces = clusters_of(model, model.reach.order)
        assert [c.members for c in found] == [
            c.members for c in merge_neighbours(model, pieces, count)
        ]
    assert len(found) == min(count, len(nodes))
    assert sorted(i for cluster in found for i in cluster.members) == [*range(len(nodes))]
    for cluster in found:
        paths = [model.reach.order[i] for i in cluster.members]
        assert cluster.cone == model.reach.cone(paths)
        assert cluster.size == sum(model.sizes[i] for i in cluster.members)
        assert cluster.probability == model.probability(cluster.cone)


@pytest.mark.usefixtures("exact_for_none")
def test_sketches_cost_little(large: ChangeModel) -> None:
    exact, sketchy = (
        fsum(cluster.cost for cluster in condense(large, large.reach.order, 100, columns))
        for columns in (SIZE, 512)
    )
    assert sketchy < 1.03 * exact
