"""Tables for people: aligned columns, cut to the width of the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.cli.screen import Screen, Style, columns_of, cut_text

__all__ = ["Cell", "Column", "name_and_hash", "styled_lines", "table_lines", "terminal_width"]

_GAP: Final = "  "
_NARROWEST: Final = 12
_HASH: Final = 6


class Column(Struct, frozen=True):
    """A column: numbers are aligned `right`, and long texts, which may be cut, are `flexible`.

    It is left out of terminals that are narrower than `above` columns and, if it is `optional`,
    where all its cells are empty.
    """

    name: str
    right: bool = False
    flexible: bool = False
    above: int = 0
    optional: bool = False


class Cell(Struct, frozen=True):
    """A text in a style; `tail` follows the text, and stays if that is cut."""

    text: str
    style: Style | None = None
    tail: str = ""

    @property
    def width(self) -> int:
        """The number of columns that the whole text takes."""
        return columns_of(self.text) + columns_of(self.tail)

    def cut(self, width: int) -> Cell:
        """Return the cell with at most `width` columns."""
        if self.width <= width:
            return self
        room = width - columns_of(self.tail)
        if self.tail and room > _NARROWEST // 2:
            return replace(self, text=cut_text(self.text, room))
        return replace(self, text=cut_text(self.text + self.tail, width), tail="")

    def aligned(self, width: int, *, right: bool) -> str:
        """Return the text, padded with spaces."""
        text = self.text + self.tail
        padding = " " * (width - columns_of(text))
        return padding + text if right else text + padding


def terminal_width() -> int | None:
    """Return the number of columns of the terminal that is standard output, or None."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None
) -> Iterator[str]:
    """Yield a line with the names of `columns`, and one for each row.

    Cells of flexible columns are cut, the widest column first, until a line has at most `width`
    characters; None means no limit. What still does not fit is cut off at the right.
    """
    return styled_lines(columns, [[Cell(text) for text in row] for row in rows], Screen(width))


def styled_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], screen: Screen
) -> Iterator[str]:
    """Yield the lines of `table_lines` for `screen`, in the styles of the cells."""
    width = screen.width
    shown = [
        i
        for i, column in enumerate(columns)
        if (width is None or width >= column.above)
        and (not column.optional or any(row[i].width for row in rows))
    ]
    columns = [columns[i] for i in shown]
    head = [Cell(column.name, Style.HEAD) for column in columns]
    cells = [[row[i] for i in shown] for row in rows]
    # A row with nothing but what is left out takes no line.
    cells = [head, *(row for row in cells if any(cell.width for cell in row))]
    widths = [max(cell.width for cell in column) for column in zip(*cells, strict=True)]
    if width is not None:
        _shrink(widths, [i for i, column in enumerate(columns) if column.flexible], width)
    for row in cells:
        yield _line(columns, row, widths, screen)


def _line(
    columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int], screen: Screen
) -> str:
    """Return a line without spaces at its end, and at most as wide as the screen."""
    left = screen.width
    last = max((i for i, cell in enumerate(row) if cell.width), default=-1)
    parts = []
    for i, (cell, size, column) in enumerate(zip(row, widths, columns, strict=True)):
        if i > last:
            break
        text = cell.cut(size).aligned(size, right=column.right)
        if i == last:
            text = text.rstrip()
        if left is not None:
            text = cut_text(text, left)
            left -= columns_of(text) + len(_GAP)
        parts.append(screen.painted(text, cell.style))
        if left is not None and left <= 0:
            break
    return _GAP.join(parts)


def name_and_hash(store_path: str) -> tuple[str, str]:
    """Return the name of a store path and the start of its hash, which tells namesakes apart."""
    base_name = store_path.rpartition("/")[2]
    return base_name[33:], base_name[:_HASH]


def _shrink(widths: list[int], flexible: Sequence[int], width: int) -> None:
    """Make flexible columns narrower until the line fits, or until all of them are narrow."""
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while excess > 0 and flexible:
        widest = max(flexible, key=lambda i: widths[i])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
        excess -= 1
