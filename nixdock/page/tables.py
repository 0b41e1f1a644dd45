"""Tables that can be sorted: each cell has its text, and the number that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from msgspec import Struct, field

from nixdock.page.markup import element, text

__all__ = ["Cell", "Column", "Row", "table"]

_Item = TypeVar("_Item")


class Cell(Struct, frozen=True):
    """A cell with HTML; `number` is what it is sorted by in a column of numbers."""

    html: str
    number: int | None = None


class Column(Struct, Generic[_Item], frozen=True):
    """A column, which makes a cell of each item; `key` names it for the script.

    One of numbers is aligned right, and sorted by `Cell.number`, the largest first. A cell of a
    column that `is_head` is what its row is about.
    """

    key: str
    title: str
    cell: Callable[[_Item], Cell]
    is_number: bool = False
    is_head: bool = False


class Row(Struct, Generic[_Item], frozen=True):
    """The row of an item, with its identifier in the page and other attributes."""

    key: str
    item: _Item
    attributes: Mapping[str, str] = field(default_factory=dict)


def table(
    label: str,
    columns: Sequence[Column[_Item]],
    rows: Iterable[Row[_Item]],
    style: str | None = None,
) -> str:
    """Return a table; it is in a region of its own, so that only it scrolls if it is too wide."""
    heads = "".join(
        element(
            "th",
            text(column.title),
            scope="col",
            class_=_style(column),
            data_key=column.key,
            data_sort="number" if column.is_number else "text",
        )
        for column in columns
    )
    content = (
        element("caption", text(label))
        + element("thead", element("tr", heads))
        + element("tbody", "\n".join(_row(row, columns) for row in rows))
    )
    return element(
        "div",
        element("table", content, class_=style),
        class_="scroll",
        role="region",
        tabindex="0",
        aria_label=label,
    )


def _row(row: Row[_Item], columns: Sequence[Column[_Item]]) -> str:
    cells = "".join(_cell(column, column.cell(row.item)) for column in columns)
    return element("tr", cells, id=row.key, **row.attributes)


def _cell(column: Column[_Item], cell: Cell) -> str:
    return element(
        "th" if column.is_head else "td",
        cell.html,
        class_=_style(column),
        data_number=cell.number,
        scope="row" if column.is_head else None,
    )


def _style(column: Column[_Item]) -> str | None:
    return "number" if column.is_number else None
