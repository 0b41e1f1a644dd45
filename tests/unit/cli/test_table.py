"""Tables: alignment, and cutting to the width of a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.cli.screen import Screen, columns_of, cut_text
from nixdock.cli.table import Cell, Column, name_and_hash, styled_lines, table_lines

COLUMNS = (Column("n", right=True), Column("contents", flexible=True), Column("hash"))
ROWS = [("1", "a-rather-long-name-1.0", "abcdef"), ("12", "short", ""), ("", "c", "ghijkl")]


def test_columns_are_aligned() -> None:
    assert [*table_lines(COLUMNS, ROWS, None)] == [
        " n  contents                hash",
        " 1  a-rather-long-name-1.0  abcdef",
        "12  short",
        "    c                       ghijkl",
    ]


@pytest.mark.parametrize("width", [200, 34])
def test_what_fits_is_not_cut(width: int) -> None:
    assert [*table_lines(COLUMNS, ROWS, width)] == [*table_lines(COLUMNS, ROWS, None)]


def test_flexible_columns_are_cut_first() -> None:
    assert [*table_lines(COLUMNS, ROWS, 26)] == [
        " n  contents        hash",
        " 1  a-rather-lo...  abcdef",
        "12  short",
        "    c               ghijkl",
    ]


@pytest.mark.parametrize("width", range(1, 24))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert all(len(line) <= width for line in table_lines(COLUMNS, ROWS, width))


def test_the_widest_column_is_cut_first() -> None:
    columns = (Column("a", flexible=True), Column("b", flexible=True))
    assert [*table_lines(columns, [("x" * 30, "y" * 20)], 40)][1] == f"{'x' * 16}...  {'y' * 16}..."


def test_the_name_of_a_store_path_comes_first() -> None:
    assert name_and_hash(f"/nix/store/{'d' * 32}-app-1.0") == ("app-1.0", "dddddd")


@pytest.mark.parametrize("width", range(32, 60))
def test_the_tail_of_a_cell_stays(width: int) -> None:
    columns = (Column("layer"), Column("what", flexible=True), Column("hash"))
    row = (Cell("1"), Cell("x" * 50, tail=" +3 (app)"), Cell("abcdef"))
    line = [*styled_lines(columns, [row], Screen(width))][1]
    assert len(line) == width
    assert line.endswith("... +3 (app)  abcdef")


def test_a_column_may_need_room_or_contents() -> None:
    columns = (Column("a"), Column("wide", above=40), Column("seldom", optional=True))
    rows = [tuple(map(Cell, cells)) for cells in (("1", "2", ""), ("", "only here", ""))]
    assert [*styled_lines(columns, rows, Screen(39))] == ["a", "1"]
    assert [*styled_lines(columns, rows, Screen(40))] == ["a  wide", "1  2", "   only here"]


def test_wide_characters_take_two_columns() -> None:
    columns = (Column("name", flexible=True), Column("n"))
    rows = [("日本語", "1"), ("e\u0301" * 5, "2"), ("ab", "3")]
    assert [*table_lines(columns, rows, None)] == [
        "name    n",
        "日本語  1",
        f"{'e' + chr(0x301)}" * 5 + "   2",
        "ab      3",
    ]
    assert cut_text("日本語日本語", 8) == "日本..."


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S"])), st.integers(0, 20))
def test_a_cut_text_is_never_too_wide(text: str, width: int) -> None:
    assert columns_of(cut_text(text, width)) <= width
    if columns_of(text) <= width:
        assert cut_text(text, width) == text
