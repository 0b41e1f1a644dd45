"""`nixdock db`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock.build import read_bytes
from nixdock.cli.graph import graph_argument, key_option
from nixdock.closure import parse_closure
from nixdock.nixdb import write_nix_db
from nixdock.store_path import StorePath
from nixdock.time import source_date_epoch

__all__ = ["command"]


@click.command("db")
@graph_argument
@key_option
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True)
@click.option("--gc-root", "gc_roots", multiple=True, help="Store path that is to be kept.")
@click.option("--root", default="", help="Directory below which the store lies.")
def command(
    graph: Path, keys: tuple[str, ...], target: Path, gc_roots: tuple[str, ...], root: str
) -> None:
    """Write nix/var/nix/db, for the store paths of GRAPH, below a directory.

    With links in nix/var/nix/gcroots/docker that keep the given roots, or else the graph's own,
    from being collected. The time of registration is SOURCE_DATE_EPOCH.
    """
    closure = parse_closure(read_bytes(graph, "the graph"), keys, str(graph))
    write_nix_db(
        closure,
        target,
        gc_roots=[StorePath.parse(path) for path in gc_roots],
        registration_time=source_date_epoch(),
        root=root,
    )
