"""`nixdock db`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from msgspec.structs import replace

from nixdock import InputError, StorePath, write_database
from nixdock.cli.access import access_options
from nixdock.cli.location import LOCATION
from nixdock.cli.options import (
    OUTPUT_PATH,
    key_option,
    optional_graph_argument,
    platform_option,
)
from nixdock.cli.progress import wrote
from nixdock.cli.store_paths import path_named
from nixdock.cli.stores import ChosenStores, store_options
from nixdock.spec.times import source_date_epoch
from nixdock.system.presence import is_directory
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.oci.location import Location

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock db graph.json -o database --gc-root hello
"""


@click.command("db", epilog=_EXAMPLES)
@optional_graph_argument
@key_option
@click.option(
    "-o",
    "--output",
    "target",
    type=OUTPUT_PATH,
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
@store_options
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
    graph: Path | None,
    keys: tuple[str, ...],
    target: Path,
    gc_roots: tuple[str, ...],
    chosen: ChosenStores,
    bases: tuple[Location, ...],
    platform: str | None,
    access: Access | None,
) -> None:
    """Write a Nix database with the store paths of GRAPH below a directory.

    The database is written to nix/var/nix/db, and symlinks that protect the garbage collector roots
    to nix/var/nix/gcroots/docker. The time of registration is SOURCE_DATE_EPOCH.

    A --root that is a directory, and no store path, contains the store; by default, that is /.
    """
    if platform is not None and not bases:
        raise click.UsageError("--platform is for --base")
    chosen, root = _without_directory(chosen, graph)
    closure = chosen.closure(graph, keys, access)
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
    wrote(
        target / "nix/var/nix/db",
        f"{counted(len(closure), 'store path')} of {graph or chosen.roots[0]}",
    )


def _without_directory(chosen: ChosenStores, graph: Path | None) -> tuple[ChosenStores, str]:
    """Take the directory that contains the store out of what --root gives.

    What else is no store path may be the name of one in a graph.
    """
    roots, directories = [], []
    for text in chosen.roots:
        try:
            roots.append(str(StorePath.parse(text)))
        except InputError:
            if is_directory(text):
                directories.append(text)
            elif graph is None:
                raise click.UsageError(
                    f"--root {text} is neither a store path nor a directory"
                ) from None
            else:
                roots.append(text)
    if len(directories) > 1:
        raise click.UsageError(f"--root names two directories: {' and '.join(directories[:2])}")
    return replace(chosen, roots=tuple(roots)), next(iter(directories), "")
