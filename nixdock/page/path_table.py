"""The table of store paths, which also tells the script what refers to what."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from nixdock.page.layer_table import layer_key
from nixdock.page.markup import element, name, text
from nixdock.page.references import References
from nixdock.page.styles import path_mark
from nixdock.page.tables import Cell, Column, Row, table
from nixdock.page.words import UNKNOWN, size_or_unknown
from nixdock.system.text import shown
from nixdock.view.model import ImageView, LayerView, PathView

__all__ = ["path_table"]


def path_table(prefix: str, image: ImageView, references: References) -> str:
    """Return the table of all store paths of an image, the largest first.

    Columns of which nothing is known are left out.
    """
    paths = sorted(references.paths.values(), key=lambda path: (-(path.size or 0), path.path))
    cells = _Cells(prefix, references, {layer.number: layer for layer in image.layers}, image)
    columns: list[Column[PathView]] = [Column("title", "Store path", cells.title, is_head=True)]
    if any(path.size is not None for path in paths):
        columns.append(Column("size", "Size", _size, is_number=True))
    if any(path.status for path in paths):
        columns.append(Column("status", "Status", cells.status))
    columns.append(Column("layer", "Layer", cells.layer, is_number=True))
    if any(path.added_size is not None for path in paths):
        columns.append(Column("added", "Added size", _added, is_number=True))
        columns.append(Column("closure", "Closure", _closure, is_number=True))
    if any(path.references is not None for path in paths):
        columns.append(Column("below", "References", cells.below, is_number=True))
        columns.append(Column("above", "Referrers", cells.above, is_number=True))
        columns.append(Column("through", "Needed by", cells.through))
    rows = (cells.row(path) for path in paths)
    return table("Store paths, the largest first", columns, rows, "paths")


class _Cells(Struct, frozen=True):
    """Makes the cells that need more than their store path."""

    prefix: str
    references: References
    layers: Mapping[int, LayerView]
    image: ImageView

    def row(self, path: PathView) -> Row[PathView]:
        keys = self.references.keys
        below = [keys[other] for other in self.references.below[path.path]]
        attributes = {"data-path": shown(path.path), "data-below": " ".join(below)}
        through = self.references.through.get(path.path)
        if through is not None:
            attributes["data-through"] = keys[through]
        return Row(keys[path.path], path, attributes)

    def title(self, path: PathView) -> Cell:
        link = element("a", name(path.name), href=f"#{self.references.keys[path.path]}")
        mark = element("span", "app", class_="tag") if path.is_app else ""
        return Cell(f"{link} {mark}{element('small', text(path.short_hash))}")

    def status(self, path: PathView) -> Cell:
        return Cell(path_mark(path, self.layers[path.layer], self.image))

    def layer(self, path: PathView) -> Cell:
        link = element("a", str(path.layer), href=f"#{layer_key(self.prefix, path.layer)}")
        return Cell(link, path.layer)

    def below(self, path: PathView) -> Cell:
        count = len(self.references.below[path.path])
        return Cell(str(count), count)

    def above(self, path: PathView) -> Cell:
        count = len(self.references.above[path.path])
        return Cell(str(count), count)

    def through(self, path: PathView) -> Cell:
        if path.is_app:
            return Cell("the app itself")
        through = self.references.through.get(path.path)
        if through is None:
            return Cell(UNKNOWN)
        title = self.references.paths[through].name
        return Cell(element("a", name(title), href=f"#{self.references.keys[through]}"))


def _size(path: PathView) -> Cell:
    return Cell(size_or_unknown(path.size), path.size)


def _added(path: PathView) -> Cell:
    return Cell(size_or_unknown(path.added_size), path.added_size)


def _closure(path: PathView) -> Cell:
    return Cell(size_or_unknown(path.closure_size), path.closure_size)
