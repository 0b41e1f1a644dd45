"""Lines are as wide as the terminal, and nothing in a name does more than stand there."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.segment import Segment

from nixdock.browse.levels import Level, LevelKind, Order, all_paths, layers_of
from nixdock.browse.lines import Scale, fitted, header_line, row_line
from nixdock.browse.panels import wrapped
from nixdock.system.text import shown
from nixdock.view.model import Status

from .views import view

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


def text_of(line: list[Segment]) -> str:
    return "".join(segment.text for segment in line)


def scale(level: Level, width: int, *, has_status: bool = False) -> Scale:
    return Scale.of(level, width, Order.SIZE, has_status=has_status)


@given(TEXTS, st.integers(1, 130), st.sampled_from(LevelKind), st.sampled_from([None, *Status]))
def test_lines_have_the_width(
    name: str, width: int, kind: LevelKind, status: Status | None
) -> None:
    level = all_paths(view())
    row = replace(level.rows[0], name=shown(name), status=status)
    its = scale(level, width, has_status=status is not None)
    for line in (row_line(kind, row, its), header_line(kind, its, is_reversed=False)):
        assert cell_len(text_of(line)) == width
        assert text_of(line).isprintable()


@given(TEXTS, st.integers(8, 60))
@example("\N{EMOJI MODIFIER FITZPATRICK TYPE-1-2}", 8)
def test_wrapped_lines_lose_nothing(text: str, width: int) -> None:
    lines = wrapped(shown(text), width)
    assert all(cell_len(line) <= width for line in lines)
    assert lines[0] + "".join(line[2:] for line in lines[1:]) == shown(text)


def test_a_status_is_told_without_colours() -> None:
    level = layers_of(view())
    lines = {
        text_of(
            row_line(
                level.kind, replace(level.rows[0], status=each), scale(level, 60, has_status=True)
            )
        )
        for each in Status
    }
    assert len(lines) == len(Status)


def test_bars_are_to_scale() -> None:
    level = layers_of(view())
    its = scale(level, 120)
    bars = [text_of(row_line(level.kind, row, its)).count("█") for row in level.rows]
    assert bars[0] == its.bar == 20
    assert bars[1:] == [0, 0]
    smallest = text_of(row_line(level.kind, level.rows[2], its))
    assert "▎" in smallest


def test_names_stand_last() -> None:
    """So that a name in a script from right to left moves nothing behind it."""
    level = all_paths(view())
    name = "\u05d0\u05d1\u05d2"
    line = row_line(level.kind, replace(level.rows[0], name=name), scale(level, 120))
    assert text_of(line).rstrip().endswith(name)


def test_columns_that_are_not_known_are_left_out() -> None:
    level = all_paths(view())
    rows = tuple(replace(row, added=None) for row in level.rows)
    heads = [
        text_of(header_line(each.kind, scale(each, 100), is_reversed=False))
        for each in (level, replace(level, rows=rows))
    ]
    assert ["added" in head for head in heads] == [True, False]


def test_what_is_cut_says_so() -> None:
    assert text_of(fitted([Segment("hello")], 4)) == "hel…"
    assert text_of(fitted([Segment("日本語")], 4)) == "日 …"
