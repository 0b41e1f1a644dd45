"""`nixdock registration`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import registration_text
from nixdock.cli.access import access_options
from nixdock.cli.options import key_option, optional_graph_argument
from nixdock.cli.stores import ChosenStores, store_options

if TYPE_CHECKING:
    from nixdock import Access

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock registration graph.json | nix-store --load-db
"""


@click.command("registration", epilog=_EXAMPLES)
@optional_graph_argument
@key_option
@store_options
@access_options
def command(
    graph: Path | None, keys: tuple[str, ...], chosen: ChosenStores, access: Access | None
) -> None:
    """Print the text with which `nix-store --load-db` registers the store paths of GRAPH.

    GRAPH is a reference graph in any form in which Nix exports one. Without it, the closure is that
    of each --root.
    """
    click.echo(registration_text(chosen.closure(graph, keys, access)), nl=False)
