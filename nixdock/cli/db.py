"""`nixdock db`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock import StorePath, read_closure, write_database
from nixdock.cli.options import FILE, graph_argument, key_option
from nixdock.spec.times import source_date_epoch

__all__ = ["command"]


@click.command("db")
@graph_argument
@key_option
@click.option(
    "-o",
    "--output",
    "target",
    type=FILE,
    required=True,
    help="Directory below which to write nix/var/nix.",
)
@click.option(
    "--gc-root",
    "gc_roots",
    multiple=True,
    help="Store path to protect from garbage collection. Repeatable."
    "  [default: the roots of the closure]",
)
@click.option("--root", default="", help="Directory that contains the store.  [default: /]")
@click.option(
    "--base",
    "bases",
    type=FILE,
    multiple=True,
    help="Base image whose store paths to register too, lowest first. Repeatable.",
)
def command(
    graph: Path,
    keys: tuple[str, ...],
    target: Path,
    gc_roots: tuple[str, ...],
    root: str,
    bases: tuple[Path, ...],
) -> None:
    """Write a Nix database with the store paths of GRAPH below a directory.

    The database is written to nix/var/nix/db, and symlinks that protect the garbage collector roots
    to nix/var/nix/gcroots/docker. The time of registration is SOURCE_DATE_EPOCH.
    """
    write_database(
        read_closure(graph, keys),
        target,
        base_images=bases,
        gc_roots=[StorePath.parse(path) for path in gc_roots],
        registration_time=source_date_epoch(),
        root=root,
    )
