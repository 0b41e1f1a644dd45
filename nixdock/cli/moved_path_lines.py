"""The store paths that an update changes or transfers again: one line for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from nixdock.cli.diff_text import MARKS, STYLES
from nixdock.cli.layer_lines import known_size, more_text
from nixdock.cli.path_lines import path_cell
from nixdock.cli.screen import Screen, Style
from nixdock.cli.table import Cell, Column, styled_lines
from nixdock.view.model import Status
from nixdock.view.order import sorted_paths

if TYPE_CHECKING:
    from nixdock.view import PathView, UpdateView

__all__ = ["moved_path_lines"]

_COLUMNS: Final = (
    Column("status"),
    Column("store path", flexible=True),
    Column("hash"),
    Column("layer", right=True),
    Column("size", right=True),
    Column("why", flexible=True, above=70),
)


def moved_path_lines(
    update: UpdateView, screen: Screen, order: str = "layer", top: int | None = None
) -> Iterator[str]:
    """Yield a table of the store paths that are new, gone, or transferred again; at most `top`."""
    fetched = {layer.number for layer in update.new.layers if layer.fetched}
    paths = [
        path
        for path in sorted_paths(update.new, order)
        if path.status not in {Status.KEPT, None} or path.layer in fetched
    ]
    paths += [path for path in sorted_paths(update.old, order) if path.status is Status.GONE]
    yield from styled_lines(_COLUMNS, [_row(path) for path in paths[:top]], screen)
    if top is not None and paths[top:]:
        yield more_text([path.size for path in paths[top:]], "store path")


def _row(path: PathView) -> tuple[Cell, ...]:
    status = path.status or Status.KEPT
    why = path.reason or ""
    if path.replaces is not None:
        why = f"in place of {path.replaces.rpartition('/')[2][33:]}"
    return (
        Cell(f"{MARKS[status]} {status}", STYLES[status]),
        path_cell(path),
        Cell(path.short_hash, Style.FAINT),
        Cell(str(path.layer)),
        Cell(known_size(path.size)),
        Cell(why),
    )
