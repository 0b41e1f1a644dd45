"""The options of the commands that show images: what is listed, in which order and form."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click
from msgspec import Struct

from nixdock.cli.options import FILE_OR_STDIN, OUTPUT
from nixdock.cli.output import is_standard_output

if TYPE_CHECKING:
    from nixdock import Closure

__all__ = ["FORMATS", "Listing", "graph_file_option", "listing_options", "read_graph"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

FORMATS: Final = ("text", "json", "markdown")
"""The forms in which an image, a plan or an update is shown."""

# As in `nixdock.view.order`, which is slow to load.
_ORDERS: Final = ("layer", "size", "added", "name")


class Listing(Struct, frozen=True):
    """What is listed: layers, or `paths`, or the whole `tree`, or the reason `why` a path is there.

    `form` is one of FORMATS. At most `top` things are listed, in the order `sort`. `html` is the
    file for the page, if there is to be one.
    """

    form: str = "text"
    sort: str = "layer"
    top: int | None = None
    paths: bool = False
    tree: bool = False
    why: str | None = None
    html: Path | None = None

    @property
    def is_printed(self) -> bool:
        """Whether anything is printed besides the page."""
        return self.html is None or not is_standard_output(self.html)

    @property
    def with_references(self) -> bool:
        """Whether it can't be listed without references."""
        return self.why is not None or self.sort == "added"


def listing_options(*, tree: bool = False) -> Callable[[_Command], _Command]:
    """Add --format, --json, --html, --sort, --top, --paths, --why and perhaps --tree to a command.

    The command takes the parameter `listing`: a `Listing`.
    """

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def with_listing(
            *args: Any,
            form: str | None,
            as_json: bool,
            sort: str,
            top: int | None,
            paths: bool,
            why: str | None,
            html: Path | None,
            tree: bool = False,
            **others: Any,
        ) -> Any:
            listing = Listing(_form(form, as_json=as_json), sort, top, paths, tree, why, html)
            _check(listing)
            return command(*args, listing=listing, **others)

        options = [*_OPTIONS, _TREE] if tree else _OPTIONS
        made = functools.reduce(lambda function, option: option(function), options, with_listing)
        return cast("_Command", made)

    return decorate


def _form(form: str | None, *, as_json: bool) -> str:
    if as_json and form not in {None, "json"}:
        raise click.UsageError("--json and --format are mutually exclusive")
    return "json" if as_json else form or "text"


def _check(listing: Listing) -> None:
    if sum([listing.paths, listing.tree, listing.why is not None]) > 1:
        raise click.UsageError("--paths, --tree and --why are mutually exclusive")
    if listing.sort == "added" and not listing.paths:
        raise click.UsageError("--sort added is for --paths: layers have no added size")
    if listing.form == "json" and (listing.sort != "layer" or listing.top is not None):
        raise click.UsageError("JSON has everything: --sort and --top are for people")
    if listing.form != "text" and not listing.is_printed:
        raise click.UsageError("standard output can't be both --html and --format")
    if listing.form == "markdown" and (listing.tree or listing.why is not None):
        raise click.UsageError("--tree and --why are not for --format markdown")


_OPTIONS: Final = (
    click.option(
        "--html",
        type=OUTPUT,
        metavar="FILE",
        help="Write a page for browsers, too: pictures, tables and the JSON in one file.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Short for --format json."),
    click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        help="What to print: text, JSON, or Markdown for a pull request.  [default: text]",
    ),
    click.option("--top", type=click.IntRange(min=1), metavar="N", help="List no more than N."),
    click.option(
        "--sort",
        type=click.Choice(_ORDERS),
        default="layer",
        show_default=True,
        help="Order of the list; sizes are descending, and added is what only a store path brings.",
    ),
    click.option(
        "--why",
        metavar="PATH|NAME",
        help="Show the shortest chain of references from the app to a store path.",
    ),
    click.option("--paths", is_flag=True, help="List the store paths, not the layers."),
)
_TREE: Final = click.option(
    "--tree", is_flag=True, help="List layers, store paths and files as a tree, with their sizes."
)

graph_file_option = click.option(
    "--graph",
    "graph_file",
    type=FILE_OR_STDIN,
    metavar="FILE",
    help="Reference graph, or registration, that states the references of the store paths."
    "  [default: what the image states]",
)


def read_graph(file: Path | None) -> Closure | None:
    """Return the closure in the file of `graph_file_option`, if it is given."""
    if file is None:
        return None
    from nixdock import read_closure

    return read_closure(file)
