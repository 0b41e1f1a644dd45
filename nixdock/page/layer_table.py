"""The table of layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from nixdock.page.markup import element, name
from nixdock.page.tables import Cell, Column, Row, table
from nixdock.page.words import UNKNOWN, size_or_unknown, status_mark
from nixdock.system.text import counted
from nixdock.view.model import LayerView, Status
from nixdock.view.sentence import share_text

__all__ = ["gone_key", "layer_key", "layer_table"]

_DIGITS: Final = 12
_MOST_CHANGES: Final = 3


def layer_key(prefix: str, number: int) -> str:
    """Return the key of the row of a layer."""
    return f"{prefix}layer{number}"


def gone_key(prefix: str, number: int) -> str:
    """Return the key of the row of a layer that only the old image has."""
    return f"{prefix}gone{number}"


def layer_table(prefix: str, layers: Iterable[LayerView], gone: Iterable[LayerView] = ()) -> str:
    """Return the table of `layers`, bottom first, and of those that are `gone`.

    Columns of which nothing is known are left out.
    """
    layers = tuple(layers)
    rows = [Row(layer_key(prefix, layer.number), layer) for layer in layers]
    rows += [Row(gone_key(prefix, layer.number), layer) for layer in gone]
    total = sum(layer.size or 0 for layer in layers)
    columns: list[Column[LayerView]] = [
        Column("number", "Layer", _number, is_number=True),
        Column("title", "Contents", _title, is_head=True),
        Column("size", "Size", _size, is_number=True),
        Column("share", "Share", lambda layer: _share(layer, total), is_number=True),
        Column("paths", "Store paths", _paths, is_number=True),
    ]
    if any(layer.status for layer in layers):
        columns.insert(2, Column("status", "Status", lambda layer: Cell(status_mark(layer.status))))
        columns.append(Column("changes", "Why", _changes))
    elif any(layer.changed_by is not None for layer in layers):
        columns.append(Column("changed-by", "Changes with", _changed_by, is_number=True))
    if any(layer.digest for layer in layers):
        columns.append(Column("digest", "Digest", _digest))
    return table("Layers, bottom first", columns, rows)


def _number(layer: LayerView) -> Cell:
    if layer.status is Status.GONE:
        return Cell(element("span", f"was {layer.number}", class_="soft"))
    return Cell(str(layer.number), layer.number)


def _title(layer: LayerView) -> Cell:
    mark = element("span", "app", class_="tag") if layer.has_app else ""
    more = len(layer.paths) - 1
    others = element("small", f"and {more} more") if more > 0 else ""
    return Cell(f"{name(layer.title)} {mark}{others}")


def _size(layer: LayerView) -> Cell:
    return Cell(size_or_unknown(layer.size), layer.size)


def _share(layer: LayerView, total: int) -> Cell:
    if layer.size is None or layer.status is Status.GONE or not total:
        return Cell("")
    bar = element(
        "svg",
        element("path", d=f"M0 0H{100 * layer.size / total:.2f}V1H0Z"),
        class_="share",
        viewBox="0 0 100 1",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    return Cell(bar + element("span", share_text(layer.size, total)), layer.size)


def _paths(layer: LayerView) -> Cell:
    return Cell(str(len(layer.paths)), len(layer.paths))


def _changed_by(layer: LayerView) -> Cell:
    if layer.changed_by is None:
        return Cell(UNKNOWN)
    return Cell(counted(layer.changed_by, "path"), layer.changed_by)


def _changes(layer: LayerView) -> Cell:
    if layer.status is Status.MOVED:
        return Cell(f"was layer {layer.other_layer}")
    items = [element("li", name(change)) for change in layer.changes[:_MOST_CHANGES]]
    if (more := len(layer.changes) - len(items)) > 0:
        items.append(element("li", f"and {more} more"))
    return Cell(element("ul", "".join(items)) if items else "")


def _digest(layer: LayerView) -> Cell:
    return Cell(element("code", name((layer.digest or "").partition(":")[2][:_DIGITS])))
