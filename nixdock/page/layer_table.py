"""The table of layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from nixdock.page.markup import element, name
from nixdock.page.styles import status_mark
from nixdock.page.tables import Cell, Column, Row, table
from nixdock.page.words import UNKNOWN, size_or_unknown
from nixdock.system.text import counted
from nixdock.view.model import LayerView, Status
from nixdock.view.sentence import share_text

__all__ = ["layer_key", "layer_table", "old_layer_key"]

_DIGITS: Final = 12
_MOST_CHANGES: Final = 3


def layer_key(prefix: str, number: int) -> str:
    """Return the key of the row of a layer."""
    return f"{prefix}layer{number}"


def old_layer_key(prefix: str, number: int) -> str:
    """Return the key of the row of a layer of the old image."""
    return f"{prefix}old{number}"


class _Line(Struct, frozen=True):
    layer: LayerView
    is_old: bool = False


def layer_table(prefix: str, layers: Iterable[LayerView], old: Iterable[LayerView] = ()) -> str:
    """Return the table of `layers`, bottom first, and of those `old` ones that the image lacks.

    Columns of which nothing is known are left out.
    """
    layers = tuple(layers)
    rows = [Row(layer_key(prefix, layer.number), _Line(layer)) for layer in layers]
    rows += [Row(old_layer_key(prefix, layer.number), _Line(layer, is_old=True)) for layer in old]
    total = sum(layer.size or 0 for layer in layers)
    columns = [
        Column("number", "Layer", _number, is_number=True),
        Column("title", "Contents", lambda line: _title(line.layer), is_head=True),
        Column("size", "Size", lambda line: _size(line.layer), is_number=True),
        Column("share", "Share", lambda line: _share(line, total), is_number=True),
        Column("paths", "Store paths", lambda line: _paths(line.layer), is_number=True),
    ]
    if any(layer.status for layer in layers):
        columns.insert(2, Column("status", "Status", lambda line: _status(line.layer)))
        columns.append(Column("changes", "Why", lambda line: _changes(line.layer)))
    elif any(layer.changed_by is not None for layer in layers):
        count = sum(len(layer.paths) for layer in layers)
        columns.append(
            Column("changed-by", "Changes with", lambda line: _changed_by(line.layer, count), True)
        )
    if any(layer.digest for layer in layers):
        columns.append(Column("digest", "Digest", lambda line: _digest(line.layer)))
    return table("Layers, bottom first", columns, rows)


def _number(line: _Line) -> Cell:
    number = line.layer.number
    if line.is_old:
        return Cell(element("span", f"was {number}", class_="soft"))
    return Cell(str(number), number)


def _status(layer: LayerView) -> Cell:
    return Cell(status_mark(layer.status))


def _title(layer: LayerView) -> Cell:
    is_app = any(path.is_app for path in layer.paths)
    mark = element("span", "app", class_="tag") if is_app else ""
    more = len(layer.paths) - 1
    others = element("small", f"and {more} more") if more > 0 else ""
    return Cell(f"{name(layer.title)} {mark}{others}")


def _size(layer: LayerView) -> Cell:
    return Cell(size_or_unknown(layer.size), layer.size)


def _share(line: _Line, total: int) -> Cell:
    size = line.layer.size
    if size is None or line.is_old or not total:
        return Cell("")
    bar = element(
        "svg",
        element("path", d=f"M0 0H{100 * size / total:.2f}V1H0Z"),
        class_="share",
        viewBox="0 0 100 1",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    return Cell(bar + element("span", share_text(size, total)), size)


def _paths(layer: LayerView) -> Cell:
    return Cell(str(len(layer.paths)), len(layer.paths))


def _changed_by(layer: LayerView, count: int) -> Cell:
    if layer.has_app:
        return Cell("the app", layer.changed_by)
    if layer.changed_by is None:
        return Cell(UNKNOWN)
    if layer.changed_by == 1:
        return Cell("itself", 1)
    return Cell(f"{layer.changed_by} of {counted(count, 'path')}", layer.changed_by)


def _changes(layer: LayerView) -> Cell:
    if layer.status is Status.MOVED:
        return Cell(f"was layer {layer.other_layer}")
    items = [element("li", name(change)) for change in layer.changes[:_MOST_CHANGES]]
    if (more := len(layer.changes) - len(items)) > 0:
        items.append(element("li", f"and {more} more"))
    return Cell(element("ul", "".join(items)) if items else "")


def _digest(layer: LayerView) -> Cell:
    return Cell(element("code", name((layer.digest or "").partition(":")[2][:_DIGITS])))
