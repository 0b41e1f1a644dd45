"""Tables for people: aligned columns, cut to the width of the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Column", "name_and_hash", "table_lines", "terminal_width"]

_GAP: Final = "  "
_NARROWEST: Final = 12
_HASH: Final = 6


@dataclass(frozen=True, slots=True)
class Column:
    """A column: numbers are aligned `right`, and long texts, which may be cut, are `flexible`."""

    name: str
    right: bool = False
    flexible: bool = False


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
    cells = [tuple(column.name for column in columns), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if width is not None:
        _shrink(widths, [i for i, column in enumerate(columns) if column.flexible], width)
    for row in cells:
        texts = [
            _cut(text, size).rjust(size) if column.right else _cut(text, size).ljust(size)
            for text, size, column in zip(row, widths, columns, strict=True)
        ]
        line = _GAP.join(texts).rstrip()
        yield line if width is None else _cut(line, width)


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


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."[:width]
