"""`nixdock registration`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock.cli.graph import graph_argument, key_option
from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.registrations import render_registration
from nixdock.system.input_files import read_bytes

__all__ = ["command"]


@click.command("registration")
@graph_argument
@key_option
def command(graph: Path, keys: tuple[str, ...]) -> None:
    """Print what `nix-store --load-db` reads to register the store paths of GRAPH.

    GRAPH is a reference graph in any form in which Nix exports one.
    """
    closure = parse_closure(read_bytes(graph, "the graph"), keys, str(graph))
    click.echo(render_registration(closure), nl=False)
