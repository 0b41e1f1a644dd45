"""`nixdock stream`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from nixdock import read_spec, stream_image
from nixdock.cli.options import access_option, quiet_option, spec_argument
from nixdock.cli.output import standard_output
from nixdock.cli.progress import packing_progress
from nixdock.oci.reference import Reference

if TYPE_CHECKING:
    from nixdock import Access

__all__ = ["command"]


@click.command("stream")
@spec_argument
@click.option(
    "-t",
    "--repo_tag",
    "--repo-tag",
    "repo_tag",
    help="Name and tag of the image, as REPO:TAG, in place of the spec's.",
)
@access_option
@quiet_option
def command(spec: Path, repo_tag: str | None, *, access: Access | None, quiet: bool) -> None:
    """Write the image that SPEC describes to standard output, as a docker-archive.

    SPEC may also be the configuration that dockerTools passes to its own stream script.
    """
    out = standard_output("pipe it into `docker load`")
    parsed = read_spec(spec)
    if repo_tag is not None:
        reference = Reference.parse(repo_tag)
        parsed = msgspec.structs.replace(parsed, name=reference.repository, tag=reference.tag)
    with packing_progress(quiet=quiet) as progress:
        stream_image(parsed, out.write, progress=progress, access=access)
