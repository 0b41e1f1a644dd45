"""`nixdock top-layer`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import pack_top_layer, read_spec
from nixdock.cli.access import access_options
from nixdock.cli.options import (
    OUTPUT_PATH,
    SOURCE,
    confinement_options,
    overridden,
    spec_argument,
)
from nixdock.cli.progress import wrote
from nixdock.cli.stores import ChosenStores, realise_option, store_options

if TYPE_CHECKING:
    from nixdock import Access

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock top-layer hello.json -o top
"""


@click.command("top-layer", epilog=_EXAMPLES)
@spec_argument
@click.option(
    "-o", "--output", "target", type=OUTPUT_PATH, required=True, help="Directory to write."
)
@click.option(
    "--graph",
    type=SOURCE,
    help="File with the closure's graph, in place of the spec's; only for nix_db.",
)
@store_options
@realise_option
@confinement_options
@access_options
def command(
    spec: Path,
    target: Path,
    graph: str | None,
    confinement: str | None,
    access: Access | None,
    chosen: ChosenStores,
) -> None:
    """Pack the image's own files, from SPEC's contents and extra_commands.

    The output is a directory with the layer's tar and its checksum; another spec can name it as its
    `top_layer`. With nix_db, scripts find the Nix database of the closure.
    """
    parsed = chosen.applied_to(overridden(read_spec(spec), graph), access)
    pack_top_layer(parsed, target, access=access, confinement=confinement or "required")
    wrote(target, f"the own files of {parsed.references[0]}")
