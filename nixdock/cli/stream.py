"""`nixdock stream`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import read_spec, stream_image
from nixdock.cli.access import access_options
from nixdock.cli.options import (
    confinement_options,
    overridden,
    quiet_option,
    spec_argument,
    tag_option,
)
from nixdock.cli.output import standard_output
from nixdock.cli.progress import packing_progress
from nixdock.cli.stores import ChosenStores, realise_option, store_options
from nixdock.oci.reference import Reference

if TYPE_CHECKING:
    from nixdock import Access

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock stream hello.json | docker load
  nixdock stream hello.json --tag hello:test | podman load
"""


@click.command("stream", epilog=_EXAMPLES)
@spec_argument
@click.option(
    "-t",
    "--repo_tag",
    "--repo-tag",
    "repo_tags",
    multiple=True,
    metavar="REPO[:TAG]",
    help="Name of the image, with the tag latest if none is given, in place of the spec's."
    " Repeatable.",
)
@tag_option
@store_options
@realise_option
@confinement_options
@access_options
@quiet_option
def command(
    spec: Path,
    repo_tags: tuple[str, ...],
    tags: tuple[str, ...],
    confinement: str | None,
    *,
    access: Access | None,
    chosen: ChosenStores,
    quiet: bool,
) -> None:
    """Write the image that SPEC describes to standard output, as a docker-archive.

    SPEC may also be the configuration that dockerTools passes to its own stream script.
    """
    out = standard_output("pipe it into `docker load`")
    names = [str(Reference.parse(text)) for text in repo_tags]
    parsed = chosen.applied_to(overridden(read_spec(spec), None, [*names, *tags]), access)
    with packing_progress(quiet=quiet) as progress:
        stream_image(
            parsed,
            out.write,
            progress=progress,
            access=access,
            confinement=confinement or "required",
        )
