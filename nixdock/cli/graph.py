"""Options that commands on a reference graph share."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["graph_argument", "key_option"]

graph_argument = click.argument("graph", type=click.Path(path_type=Path, allow_dash=True))

key_option = click.option(
    "--key", "keys", multiple=True, help="Key of a graph in a structured-attrs file."
)
