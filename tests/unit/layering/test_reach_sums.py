"""Sums over ancestors, against the definition."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from nixdock.layering.reach_sums import sums_of_some, sums_over_ancestors


def by_definition(parents: list[list[int]], weights: list[int]) -> list[int]:
    ancestors: list[set[int]] = []
    for i, numbers in enumerate(parents):
        ancestors.append({i}.union(*(ancestors[parent] for parent in numbers)))
    return [sum(weights[j] for j in found) for found in ancestors]


def graph(seed: int, count: int, most: int) -> list[list[int]]:
    draw = random.Random(seed)
    return [sorted(draw.sample(range(i), min(i, draw.randrange(most + 1)))) for i in range(count)]


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 80),
    most=st.integers(1, 6),
    digits=st.sampled_from([0, 1, 8, 64, 99, 100, 101, 300]),
    columns=st.integers(1, 100),
)
def test_sums_are_those_of_the_definition(
    seed: int, count: int, most: int, digits: int, columns: int
) -> None:
    parents = graph(seed, count, most)
    draw = random.Random(seed + 1)
    weights = [draw.getrandbits(digits) for _ in range(count)]
    expected = by_definition(parents, weights)
    assert sums_over_ancestors(parents, weights, columns) == expected
    some = draw.sample(range(count), count // 3)
    assert sums_of_some(some, parents, weights, columns) == [expected[node] for node in some]


def test_many_ancestors_are_added_at_once() -> None:
    # Of the roots, each has two children, so each is a column; the last nodes have all of them.
    for weight in (3, 1 << 200):
        parents: list[list[int]] = [[] for _ in range(200)]
        parents += [[*range(200)], [*range(0, 200, 2)], [*range(1, 200, 2)], [201, 202]]
        weights = [weight + i for i in range(204)]
        assert sums_over_ancestors(parents, weights, 64) == by_definition(parents, weights)
