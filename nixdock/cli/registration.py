"""`nixdock registration`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock import read_closure, registration_text
from nixdock.cli.options import graph_argument, key_option

__all__ = ["command"]


@click.command("registration")
@graph_argument
@key_option
def command(graph: Path, keys: tuple[str, ...]) -> None:
    """Print the text with which `nix-store --load-db` registers the store paths of GRAPH.

    GRAPH is a reference graph in any form in which Nix exports one.
    """
    click.echo(registration_text(read_closure(graph, keys)), nl=False)
