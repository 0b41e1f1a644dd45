"""Bars and treemaps are to scale."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.page.geometry import Rectangle, segments, tiles

AREA = Rectangle(10.0, 20.0, 1080.0, 560.0)
SIZES = st.lists(st.integers(0, 10**15), max_size=60)


def overlap(one: Rectangle, other: Rectangle) -> float:
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    return max(width, 0.0) * max(height, 0.0)


@given(SIZES)
def test_tiles_fill_the_area_in_proportion(sizes: list[int]) -> None:
    found = tiles(sizes, AREA)
    whole = AREA.width * AREA.height
    for size, tile in zip(sizes, found, strict=True):
        share = size / (sum(sizes) or 1)
        assert math.isclose(tile.width * tile.height / whole, share, rel_tol=1e-3, abs_tol=1e-9)
        assert tile.left >= AREA.left - 1e-6
        assert tile.top >= AREA.top - 1e-6
        assert tile.left + tile.width <= AREA.left + AREA.width + 1e-6
        assert tile.top + tile.height <= AREA.top + AREA.height + 1e-6


@given(SIZES)
def test_tiles_do_not_overlap(sizes: list[int]) -> None:
    found = tiles(sizes, AREA)
    assert all(
        overlap(one, other) < 1e-3
        for number, one in enumerate(found)
        for other in found[number + 1 :]
    )


def test_tiles_are_nearly_square() -> None:
    found = tiles([6, 6, 4, 3, 2, 2, 1], Rectangle(0.0, 0.0, 6.0, 4.0))
    # The example of the paper, whose worst tile has this ratio.
    ratios = [max(tile.width / tile.height, tile.height / tile.width) for tile in found]
    assert max(ratios) == pytest.approx(25 / 9)
    assert found[0] == Rectangle(0.0, 0.0, 3.0, 2.0)


@given(SIZES, st.integers(0, 10**15))
def test_segments_follow_each_other_to_scale(sizes: list[int], more: int) -> None:
    longest = sum(sizes) + more
    found = segments(sizes, longest, [0.0] * len(sizes))
    end = 0.0
    for size, span in zip(sizes, found, strict=True):
        assert span.start == pytest.approx(end)
        assert span.length == pytest.approx(size / max(longest, 1), abs=1e-12)
        end = span.start + span.length


@given(SIZES.filter(any), st.floats(0.0, 0.05))
def test_small_segments_are_seen_and_take_little_from_the_others(
    sizes: list[int], least: float
) -> None:
    found = segments(sizes, sum(sizes), [least] * len(sizes))
    assert sum(span.length for span in found) == pytest.approx(1.0)
    part = min(least, 0.2 / len(sizes))
    # All of them get shorter by the same factor.
    assert all(span.length >= part / 1.2 - 1e-12 for span in found)
    assert all(
        span.length >= size / sum(sizes) / 1.2 - 1e-12
        for size, span in zip(sizes, found, strict=True)
    )


def test_what_is_empty_has_no_place() -> None:
    assert tiles([], AREA) == ()
    assert segments([], 10, []) == ()
    assert tiles([0, 5], AREA)[1] == AREA
