"""Bars to scale, and what a screen can show."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.cli.screen import PLAIN, Screen, Style, columns_of, is_dumb, standard_screen

FILLS = st.sampled_from("█▒░·")
ASCII = Screen(has_blocks=False)


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.integers(1, 100), FILLS)
def test_bars_are_to_scale(size: int, most: int, width: int, fill: str) -> None:
    size = min(size, most)
    bar = PLAIN.bar(size, most, width, fill)
    assert bool(bar) is (size > 0)
    assert columns_of(bar) <= width
    # To the nearest eighth of a column, or whole column; what is there is seen.
    parts = 8 if fill == "█" else 1
    eighths = {block: number for number, block in enumerate("▏▎▍▌▋▊▉█", 1)}
    length = sum(eighths[block] if parts == 8 else 1 for block in bar)
    assert length <= 1 or abs(length * most - parts * width * size) * 2 <= most
    assert columns_of(ASCII.bar(size, most, width, fill)) <= width
    assert ASCII.bar(size, most, width, fill).isascii()


@given(st.lists(st.integers(0, 10**6), min_size=2), st.integers(1, 60))
def test_a_longer_bar_is_for_more(sizes: list[int], width: int) -> None:
    most = max(sizes)
    ordered = sorted(sizes)
    lengths = [columns_of(PLAIN.bar(size, most, width)) for size in ordered]
    assert lengths == sorted(lengths)
    assert not most or lengths[-1] == width


@pytest.mark.parametrize(("width", "bar"), [(None, 24), (20, 8), (60, 10), (120, 20), (400, 40)])
def test_bars_leave_room_for_names(width: int | None, bar: int) -> None:
    assert Screen(width).bar_width == bar


def test_styles() -> None:
    assert Screen(has_colours=True).painted("x", Style.NEW) == "\x1b[33mx\x1b[0m"
    assert Screen(has_colours=True).painted("x", Style.KEPT) == "x"
    assert Screen(has_colours=True).painted("", Style.NEW) == ""
    assert PLAIN.painted("x", Style.NEW) == "x"


@pytest.mark.parametrize(("encoding", "blocks"), [("utf-8", True), ("ascii", False)])
def test_a_pipe(monkeypatch: pytest.MonkeyPatch, encoding: str, blocks: bool) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    monkeypatch.setenv("COLUMNS", "40")
    assert standard_screen() == Screen(None, has_colours=False, has_blocks=blocks)


def test_a_closed_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert standard_screen() == Screen(None, has_colours=False, has_blocks=False)


@pytest.mark.parametrize(
    ("term", "dumb"), [(None, True), ("", True), ("dumb", True), ("xterm", False)]
)
def test_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch, term: str | None, dumb: bool) -> None:
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    assert is_dumb() is dumb
