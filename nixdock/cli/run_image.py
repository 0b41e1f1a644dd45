"""`nixdock run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from nixdock.cli.access import access_options
from nixdock.cli.loading import into_option, load_source, runtime_platform_option, tag_option
from nixdock.cli.options import (
    SOURCE,
    confinement_options,
    no_previous_option,
    previous_option,
    quiet_option,
)
from nixdock.cli.stores import ChosenStores, realise_option, store_options

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.oci.location import Location

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock run hello.json
  nixdock run service.json --option --publish=8080:80 -- --port 80
"""


@click.command("run", epilog=_EXAMPLES)
@click.argument("source", type=SOURCE)
@click.argument("arguments", nargs=-1, metavar="[-- ARGS...]")
@into_option(running=True)
@tag_option
@runtime_platform_option
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="OPTION",
    help="Option for the runtime's own `run`, such as --publish=8080:80. Repeatable.",
)
@previous_option
@no_previous_option
@store_options
@realise_option
@confinement_options
@access_options
@quiet_option
def command(
    source: str,
    arguments: tuple[str, ...],
    into: str | None,
    tags: tuple[str, ...],
    platform: str | None,
    options: tuple[str, ...],
    previous: tuple[Location, ...],
    confinement: str | None,
    access: Access | None,
    chosen: ChosenStores,
    *,
    no_previous: bool,
    quiet: bool,
) -> None:
    """Load the image SOURCE as `nixdock load` does, and run it with ARGS.

    The container has the terminal, or the input and outputs, of this command, which ends with its
    exit status; it is removed in the end. With an entrypoint, ARGS are its arguments; else they
    replace the image's command.
    """
    loaded = load_source(
        source,
        into,
        tags,
        platform=platform,
        previous=previous,
        no_previous=no_previous,
        chosen=chosen,
        access=access,
        confinement=confinement,
        use_cache=True,
        quiet=quiet,
    )
    # Slow to load, and not needed to show the help.
    from nixdock.runtime.running import run_loaded

    terminal = all(each is not None and each.isatty() for each in (sys.stdin, sys.stdout))
    run_loaded(loaded, arguments, options, terminal=terminal)
