"""The store paths of an image or a plan: one line for each, and the reason why one is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from nixdock.cli.layer_lines import UNKNOWN_REFERENCES, known_size, more_text
from nixdock.cli.output import size_text
from nixdock.cli.screen import Screen, Style
from nixdock.cli.store_paths import path_named
from nixdock.cli.table import Cell, Column, styled_lines
from nixdock.errors import InputError
from nixdock.nix.store_path import StorePath
from nixdock.system.text import counted, listed, shown
from nixdock.view.chains import referrers_of, shortest_chain
from nixdock.view.order import sorted_paths

if TYPE_CHECKING:
    from nixdock.view import ImageView, PathView

__all__ = ["path_cell", "path_lines", "path_of_view", "why_document", "why_lines"]

_COLUMNS: Final = (
    Column("store path", flexible=True),
    Column("hash"),
    Column("layer", right=True),
    Column("size", right=True),
    Column(""),
    Column("added", right=True),
    Column("closure", right=True, above=80),
)
_MOST_REFERRERS: Final = 5
# From there on, a chain is not indented further; one may have as many steps as there are paths.
_DEEPEST: Final = 64


def path_lines(
    view: ImageView, screen: Screen, order: str = "layer", top: int | None = None
) -> Iterator[str]:
    """Yield a table of the store paths in an order of `nixdock.view.order`; at most `top`."""
    paths = sorted_paths(view, order)
    most = max((path.size or 0 for path in paths), default=0)
    rows = [_row(path, most, screen) for path in paths[:top]]
    known = any(path.added_size is not None for path in paths)
    shown_columns = len(_COLUMNS) - (0 if known else 2)
    rows = [row[:shown_columns] for row in rows]
    yield from styled_lines(_COLUMNS[:shown_columns], rows, screen)
    if top is not None and paths[top:]:
        yield more_text([path.size for path in paths[top:]], "store path")


def path_cell(path: PathView) -> Cell:
    """Return the name of a store path; the app is marked."""
    return Cell(
        shown(path.name), Style.APP if path.is_app else None, " (app)" if path.is_app else ""
    )


def _row(path: PathView, most: int, screen: Screen) -> tuple[Cell, ...]:
    name = path_cell(path)
    return (
        name,
        Cell(path.short_hash, Style.FAINT),
        Cell(str(path.layer)),
        Cell(known_size(path.size)),
        Cell(screen.bar(path.size or 0, most, screen.bar_width), name.style),
        Cell(known_size(path.added_size)),
        Cell(known_size(path.closure_size)),
    )


def path_of_view(text: str, view: ImageView) -> PathView:
    """Return the store path that `text` names, as `path_named` does; raise InputError if none."""
    paths = {StorePath(path.path): path for path in view.paths()}
    name = path_named(text, paths)
    if name not in paths:
        raise InputError(f"{name} is not in {view.origin}", path=name)
    return paths[name]


def why_lines(view: ImageView, text: str, screen: Screen) -> Iterator[str]:
    """Yield the shortest chain of references to the store path that `text` names.

    Raise InputError if it names none, or the references are not known.
    """
    path, chain = _chain(view, text)
    corner = "└─ " if screen.has_blocks else "`- "
    for depth, each in enumerate(chain):
        lead = f"{'   ' * min(depth - 1, _DEEPEST)}{corner}" if depth else ""
        cell = path_cell(each)
        name = screen.painted(cell.text + cell.tail, cell.style)
        yield f"{lead}{name}  {each.short_hash}, layer {each.layer}, {known_size(each.size)}"
    yield ""
    yield from _weight(path)
    referrers = referrers_of(view, path.path)
    names = [each.name for each in referrers]
    if names:
        verb = "refers" if len(names) == 1 else "refer"
        whom = listed(names, _MOST_REFERRERS)
        yield f"{counted(len(names), 'store path')} {verb} to it: {whom}"
    else:
        yield "no store path refers to it"


def why_document(view: ImageView, text: str) -> dict[str, Any]:
    """Return the JSON object for `why_lines`."""
    path, chain = _chain(view, text)
    return {
        "path": path.path,
        "layer": path.layer,
        "size": path.size,
        "added_size": path.added_size,
        "closure_size": path.closure_size,
        "chain": [each.path for each in chain],
        "referrers": [each.path for each in referrers_of(view, path.path)],
    }


def _chain(view: ImageView, text: str) -> tuple[PathView, tuple[PathView, ...]]:
    path = path_of_view(text, view)
    if not view.has_references:
        raise InputError(f"{view.origin}: {UNKNOWN_REFERENCES}", path=path.path)
    return path, shortest_chain(view, path.path)


def _weight(path: PathView) -> Iterator[str]:
    if path.size is not None and path.added_size is not None:
        yield (
            f"{path.name} takes {size_text(path.size)}, uncompressed, and"
            f" {size_text(path.added_size)} with what only it brings"
        )
