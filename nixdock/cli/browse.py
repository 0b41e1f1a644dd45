"""`nixdock browse`."""

from __future__ import annotations

import gc
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import Describing, layer_files, view_image, view_update
from nixdock.browse.side import Side
from nixdock.cli.access import access_options
from nixdock.cli.location import LOCATION
from nixdock.cli.options import (
    confinement_options,
    is_stdin,
    no_cache_option,
    platform_option,
    quiet_option,
    reuse_option,
)
from nixdock.cli.progress import reading_progress
from nixdock.cli.screen import is_dumb
from nixdock.cli.stores import ChosenStores, cache_options
from nixdock.cli.view_options import graph_file_option, read_graph
from nixdock.errors import ToolError
from nixdock.system.termination import TerminatedError
from nixdock.view.sentence import update_sentence

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.browse.app import Browser
    from nixdock.oci.location import Location

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock browse hello.tar
  nixdock browse hello.json
  nixdock browse docker://ghcr.io/me/hello:latest hello.json
"""


@click.command("browse", epilog=_EXAMPLES)
@click.argument("source", metavar="IMAGE", type=LOCATION)
@click.argument("other", type=LOCATION, required=False)
@graph_file_option
@platform_option
@reuse_option
@cache_options
@no_cache_option
@confinement_options
@access_options
@quiet_option
def command(
    source: Location,
    other: Location | None,
    *,
    graph_file: Path | None,
    platform: str | None,
    reuse: tuple[str, ...],
    chosen: ChosenStores,
    no_cache: bool,
    confinement: str | None,
    access: Access | None,
    quiet: bool,
) -> None:
    """Look around in IMAGE: its layers, their store paths, their files, and why they are there.

    IMAGE is the location of an image, a spec, or a reference graph, as it would be layered. With
    OTHER, which may be any of them, too, the two stand side by side, with what an update from IMAGE
    to OTHER keeps, moves and brings. The files of a layer are read when they are looked at.

    The keys are those of ncdu and nix-tree; ? shows them. nixdock browse needs a terminal and the
    Python package textual, which `pipx install '.[browse]'` in a clone of nixdock installs, too.
    """
    _check_terminal()
    browser = _browser()
    if is_stdin(source) or (other is not None and is_stdin(other)) or graph_file == Path("-"):
        raise click.UsageError("standard input is the terminal; name a file")
    graph = read_graph(graph_file)
    describing = Describing(
        reuse, not no_cache, confinement or "required", chosen.urls, chosen.keys
    )
    read_files = partial(layer_files, platform=platform, access=access, describing=describing)
    if other is None:
        with reading_progress(quiet=quiet) as progress:
            view = view_image(
                source,
                graph=graph,
                platform=platform,
                progress=progress,
                access=access,
                describing=describing,
            )
        app = browser([Side(view, partial(read_files, source))])
    else:
        update = view_update(
            source, other, graph=graph, platform=platform, access=access, describing=describing
        )
        sides = [
            Side(update.old, partial(read_files, source), "old"),
            Side(update.new, partial(read_files, other, replaced=source), "new"),
        ]
        app = browser(sides, update_sentence(update))
    # Other commands are over before garbage matters.
    gc.enable()
    app.run()
    if app.return_code == 128 + signal.SIGINT:
        raise click.Abort
    if app.return_code is not None and app.return_code > 128:
        raise TerminatedError(app.return_code - 128)
    if app.return_code:
        click.get_current_context().exit(app.return_code)


def _check_terminal() -> None:
    streams = (("standard input", sys.stdin), ("standard output", sys.stdout))
    for name, stream in streams:
        if stream is None or not stream.isatty():
            raise click.UsageError(f"{name} is no terminal; `nixdock inspect` prints text")
    if is_dumb():
        raise click.UsageError("the terminal is dumb (TERM); `nixdock inspect` prints text")


def _browser() -> type[Browser]:
    if not os.environ.get("NO_COLOR"):
        # Textual takes an empty text for a wish, which no-color.org does not.
        os.environ.pop("NO_COLOR", None)
    try:
        from nixdock.browse.app import Browser
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise ToolError(
            "nixdock browse needs the Python package textual, which is not installed. In a clone"
            " of nixdock, pip install '.[browse]' or pipx install --force '.[browse]' installs"
            " both; in Nix, pkgs.nixdock.package.override { withBrowser = true; } has it"
        ) from None
    return Browser
