"""`nixdock db`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nixdock import read_closure, write_database
from nixdock.cli.access import access_options
from nixdock.cli.options import (
    FILE,
    LOCATION,
    graph_argument,
    key_option,
    platform_option,
)
from nixdock.cli.progress import wrote
from nixdock.cli.store_paths import path_named
from nixdock.spec.times import source_date_epoch
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.oci.location import Location

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
    help="Store path, or its name in GRAPH, to protect from garbage collection. Repeatable."
    "  [default: the roots of the closure]",
)
@click.option("--root", default="", help="Directory that contains the store.  [default: /]")
@click.option(
    "--base",
    "bases",
    type=LOCATION,
    multiple=True,
    help="Base image whose store paths to register too, lowest first. Repeatable.",
)
@platform_option
@access_options
def command(
    graph: Path,
    keys: tuple[str, ...],
    target: Path,
    gc_roots: tuple[str, ...],
    root: str,
    bases: tuple[Location, ...],
    platform: str | None,
    access: Access | None,
) -> None:
    """Write a Nix database with the store paths of GRAPH below a directory.

    The database is written to nix/var/nix/db, and symlinks that protect the garbage collector roots
    to nix/var/nix/gcroots/docker. The time of registration is SOURCE_DATE_EPOCH.
    """
    if platform is not None and not bases:
        raise click.UsageError("--platform is for --base")
    closure = read_closure(graph, keys)
    write_database(
        closure,
        target,
        base_images=bases,
        platform=platform,
        gc_roots=[path_named(text, closure.infos) for text in gc_roots],
        registration_time=source_date_epoch(),
        root=root,
        access=access,
    )
    wrote(target / "nix/var/nix/db", f"{counted(len(closure), 'store path')} of {graph}")
