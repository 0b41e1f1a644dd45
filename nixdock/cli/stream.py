"""`nixdock stream`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from nixdock.build.build import prepared_build
from nixdock.cli.progress import layer_progress, quiet_option
from nixdock.oci.reference import Reference
from nixdock.spec.reading import read_spec
from nixdock.system.atomic import StreamWriter
from nixdock.write.image import stream_image

__all__ = ["command"]


@click.command("stream")
@click.argument("spec", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-t", "--repo_tag", "--repo-tag", "repo_tag", help="Name the image REPO:TAG instead.")
@quiet_option
def command(spec: Path, repo_tag: str | None, *, quiet: bool) -> None:
    """Write the image that SPEC describes to standard output, as a docker-archive.

    SPEC may also be the configuration that dockerTools hands to its own stream script.
    """
    if sys.stdout is None:
        raise click.UsageError("standard output is closed; pipe it into `docker load`")
    if sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal; pipe it into `docker load`")
    parsed = read_spec(spec)
    if repo_tag is not None:
        reference = Reference.parse(repo_tag)
        parsed = msgspec.structs.replace(parsed, name=reference.repository, tag=reference.tag)
    out = StreamWriter(sys.stdout.fileno(), "standard output")
    with (
        prepared_build(parsed) as build,
        layer_progress(len(build.layers), quiet=quiet) as on_layer,
    ):
        stream_image(build, out.write, on_layer)
