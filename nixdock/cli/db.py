"""`nixdock db`."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from nixdock.cli.graph import graph_argument, key_option
from nixdock.errors import InputError
from nixdock.nix.database import write_nix_db
from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.registrations import merge_registrations
from nixdock.nix.store_path import StorePath
from nixdock.read.nix_store import ImageStore, read_image_store
from nixdock.read.opening import open_image
from nixdock.spec.times import source_date_epoch
from nixdock.system.input_files import read_bytes

__all__ = ["command"]

log = logging.getLogger(__name__)


@click.command("db")
@graph_argument
@key_option
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True)
@click.option("--gc-root", "gc_roots", multiple=True, help="Store path that is to be kept.")
@click.option("--root", default="", help="Directory below which the store lies.")
@click.option(
    "--base",
    "bases",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Image below: register what its layers hold, too.",
)
def command(
    graph: Path,
    keys: tuple[str, ...],
    target: Path,
    gc_roots: tuple[str, ...],
    root: str,
    bases: tuple[Path, ...],
) -> None:
    """Write nix/var/nix/db, for the store paths of GRAPH, below a directory.

    With links in nix/var/nix/gcroots/docker that keep the given roots, or else the graph's own,
    from being collected. The time of registration is SOURCE_DATE_EPOCH.
    """
    closure = parse_closure(read_bytes(graph, "the graph"), keys, str(graph))
    registrations = merge_registrations([_store_of(base) for base in bases], closure)
    for warning in registrations.warnings:
        log.warning("%s", warning)
    write_nix_db(
        registrations.closure,
        target,
        gc_roots=[StorePath.parse(path) for path in gc_roots],
        registration_time=source_date_epoch(),
        root=root,
        derivation_outputs=registrations.derivation_outputs,
    )


def _store_of(base: Path) -> ImageStore:
    with open_image(base) as file:
        if len(file.images) != 1:
            raise InputError(
                f"{base} holds {len(file.images)} images; give one with a single image"
            )
        return read_image_store(file.images[0].layers)
