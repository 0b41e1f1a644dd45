"""What `nixdock plan` shows of a plan, and where it goes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nixdock import plan_document, view_document, view_plan
from nixdock.cli.listed import listed_lines, listed_markdown
from nixdock.cli.page_file import write_image_page
from nixdock.cli.path_lines import why_document
from nixdock.cli.plan_text import end_lines, ranking_lines
from nixdock.cli.progress import wrote
from nixdock.cli.screen import standard_screen
from nixdock.layering.ranked_paths import ranked_paths
from nixdock.system.atomic import whole_file
from nixdock.system.json_text import json_text
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Closure, LayerPlan, StorePath
    from nixdock.cli.view_options import Listing
    from nixdock.view import ImageView

__all__ = ["output_plan", "shown_plan"]


def shown_plan(
    closure: Closure,
    plan: LayerPlan,
    strategy: str,
    volatile: Iterable[StorePath],
    graph: Path | None,
    listing: Listing | None,
    *,
    ranking: bool,
) -> tuple[Any, Iterable[str]]:
    """Return a plan as JSON, and its lines for people, unless there is no `listing`."""
    if ranking:
        ranked = ranked_paths(closure, plan)
        return [path.document() for path in ranked], ranking_lines(ranked)
    document = plan_document(plan, strategy)
    if listing is None:
        return document, ()
    view = view_plan(closure, plan, volatile=volatile, origin=_origin(graph))
    return _viewed(document, plan, view, listing)


def output_plan(
    document: Any, lines: Iterable[str], target: Path | None, listing: Listing, closure: Closure
) -> None:
    """Print what is shown, or write it into the file."""
    if target is not None:
        with whole_file(target) as file:
            file.write(json_text(document))
        wrote(target, f"the plan of {counted(len(closure), 'store path')}")
    elif listing.form == "json":
        click.echo(json_text(document), nl=False)
    elif listing.is_printed:
        click.echo("\n".join(lines))


def _viewed(
    document: dict[str, Any], plan: LayerPlan, view: ImageView, listing: Listing
) -> tuple[dict[str, Any], Iterable[str]]:
    """Return the plan as JSON, or its lines for people; write the page, if there is to be one."""
    if listing.form == "json" or listing.html is not None:
        document |= {"view": view_document(view)}
    if listing.html is not None:
        write_image_page(listing.html, [view], document)
    if listing.form == "json":
        if listing.why is not None:
            document["why"] = why_document(view, listing.why)
        return document, ()
    if listing.form == "markdown":
        return document, listed_markdown(view, listing).splitlines()
    screen = standard_screen()
    lines = listed_lines(view, listing, screen)
    return document, lines if listing.why is not None else chain(lines, end_lines(plan))


def _origin(graph: Path | None) -> str:
    return "the closure" if graph is None else "standard input" if str(graph) == "-" else str(graph)
