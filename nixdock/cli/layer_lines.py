"""The layers of an image or a plan: one line for each, with a bar to scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from nixdock.cli.output import size_text
from nixdock.cli.screen import Screen, Style
from nixdock.cli.table import Cell, Column, styled_lines
from nixdock.system.text import counted, shown
from nixdock.view.order import sorted_layers

if TYPE_CHECKING:
    from nixdock.view import ImageView, LayerView

__all__ = [
    "UNKNOWN_REFERENCES",
    "changes_with",
    "known_size",
    "layer_cell",
    "layer_lines",
    "more_text",
]

_COLUMNS: Final = (
    Column("layer", right=True),
    Column("what", flexible=True),
    Column("hash"),
    Column("size", right=True),
    Column(""),
    Column("paths", right=True, above=70),
    Column("changes with", above=70, optional=True),
    Column("digest", above=110, optional=True),
)
_DIGITS: Final = 12
UNKNOWN_REFERENCES: Final = (
    "what changes with what is not known: nothing states the references of the store paths; name"
    " their graph with --graph"
)
"""What to say where references are missing."""


def layer_lines(
    view: ImageView, screen: Screen, order: str = "layer", top: int | None = None
) -> Iterator[str]:
    """Yield a table of the layers in an order of `nixdock.view.order`; at most `top` of them."""
    layers = sorted_layers(view, order)
    most = max((layer.size or 0 for layer in layers), default=0)
    count = sum(1 for _ in view.paths())
    rows = [_row(layer, most, count, screen) for layer in layers[:top]]
    yield from styled_lines(_COLUMNS, rows, screen)
    if top is not None and layers[top:]:
        yield more_text([layer.size for layer in layers[top:]], "layer")


def layer_cell(layer: LayerView) -> Cell:
    """Return the name of the most important store path of a layer, and how many others there are.

    Of a layer without store paths, return what its history says.
    """
    is_app = any(path.is_app for path in layer.paths)
    more = f" +{len(layer.paths) - 1}" if len(layer.paths) > 1 else ""
    return Cell(
        shown(layer.title), Style.APP if is_app else None, more + (" (app)" if is_app else "")
    )


def changes_with(layer: LayerView, count: int) -> str:
    """Return what changes a layer of an image with `count` store paths, if it is known."""
    if layer.has_app:
        return "the app"
    if layer.changed_by is None:
        return ""
    if layer.changed_by == 1:
        return "itself"
    return f"{layer.changed_by} of {counted(count, 'path')}"


def known_size(size: int | None) -> str:
    """Return a size for people, or a question mark."""
    return "?" if size is None else size_text(size)


def more_text(sizes: Sequence[int | None], noun: str = "") -> str:
    """Return how many things of these sizes are not listed."""
    count = counted(len(sizes), f"more {noun}") if noun else f"{len(sizes)} more"
    return f"and {count}, {size_text(sum(size or 0 for size in sizes))}"


def _row(layer: LayerView, most: int, count: int, screen: Screen) -> tuple[Cell, ...]:
    what = layer_cell(layer)
    named = next((path for path in layer.paths if path.name == layer.title), None)
    return (
        Cell(str(layer.number)),
        what,
        Cell("" if named is None else named.short_hash, Style.FAINT),
        Cell(known_size(layer.size)),
        Cell(screen.bar(layer.size or 0, most, screen.bar_width), what.style),
        Cell(str(len(layer.paths)) if layer.paths else ""),
        Cell(changes_with(layer, count)),
        Cell((layer.digest or "").partition(":")[2][:_DIGITS], Style.FAINT),
    )
