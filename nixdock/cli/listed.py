"""An image or a plan, listed as the options for listings say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nixdock.cli.layer_lines import UNKNOWN_REFERENCES, layer_lines
from nixdock.cli.path_lines import path_lines, why_lines
from nixdock.cli.tree_lines import tree_lines

if TYPE_CHECKING:
    from nixdock.cli.screen import Screen
    from nixdock.cli.view_options import Listing
    from nixdock.view import ImageView

__all__ = ["listed_lines", "listed_markdown"]


def listed_lines(view: ImageView, listing: Listing, screen: Screen) -> Iterator[str]:
    """Yield the lines of a listing: layers, store paths, a tree, or a chain of references."""
    if listing.why is not None:
        yield from why_lines(view, listing.why, screen)
        return
    lines = path_lines if listing.paths else tree_lines if listing.tree else layer_lines
    yield from lines(view, screen, listing.sort, listing.top)
    if any(view.paths()) and not view.has_references and not listing.tree:
        yield ""
        yield UNKNOWN_REFERENCES


def listed_markdown(view: ImageView, listing: Listing) -> str:
    """Return the Markdown of a listing of layers or store paths."""
    from nixdock.view.markdown import image_markdown, paths_markdown

    form = paths_markdown if listing.paths else image_markdown
    return form(view, listing.sort, listing.top)
