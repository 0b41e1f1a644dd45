"""`nixdock build`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from nixdock import Compression, Format, build_image, image_digests, read_spec
from nixdock.cli.options import (
    OUTPUT,
    format_option,
    output_tag,
    overridden,
    override_options,
    quiet_option,
    spec_argument,
)
from nixdock.cli.output import check_not_terminal, is_standard_output
from nixdock.cli.progress import packing_progress

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock build hello.json -o hello.tar
  nixdock build hello.json -o hello --format oci-layout --compression zstd
  docker load < hello.tar
"""


@click.command("build", epilog=_EXAMPLES)
@spec_argument
@click.option(
    "-o",
    "--output",
    "target",
    type=OUTPUT,
    help="File or directory to write; - is standard output.",
)
@format_option
@click.option(
    "--compression",
    type=click.Choice([compression.value for compression in Compression]),
    help="Compression of each layer or, for a docker-archive, of the whole file."
    "  [default: gzip, for a docker-archive none]",
)
@click.option(
    "--legacy",
    is_flag=True,
    help="Add to a docker-archive the files that Docker needed before version 1.10.",
)
@override_options
@click.option("--dry-run", is_flag=True, help="Only print each layer's digest and size.")
@quiet_option
def command(
    spec: Path,
    target: Path | None,
    form: str,
    compression: str | None,
    graph: str | None,
    tag: str | None,
    *,
    legacy: bool,
    tag_of_output: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Build the image that SPEC describes and print its digest.

    The digest is that of the image's manifest or, for a docker-archive, which has no manifest, of
    its config. An existing file is replaced only once the new image is complete. If the image goes
    to standard output, the digest goes to standard error.
    """
    if target is None and not dry_run:
        raise click.UsageError("no output: give one with -o, or use --dry-run")
    if legacy and form != Format.DOCKER_ARCHIVE:
        raise click.UsageError(f"--legacy is for --format {Format.DOCKER_ARCHIVE}, not {form}")
    if tag_of_output:
        tag = output_tag(target, tag)
    to_stdout = target is not None and is_standard_output(target)
    if target is not None and not dry_run:
        check_not_terminal(target)
    parsed = overridden(read_spec(spec), graph, tag)
    if target is None or dry_run:
        image = image_digests(parsed, form=form, compression=compression)
        for layer in image.layers:
            click.echo(f"{layer.digest} {layer.size}")
    else:
        with packing_progress(quiet=quiet) as progress:
            image = build_image(
                parsed,
                target,
                form=form,
                compression=compression,
                legacy=legacy,
                progress=progress,
            )
    docker_only = form == Format.DOCKER_ARCHIVE
    digest = (image.config if docker_only else image.manifest).digest
    click.echo(digest, err=to_stdout and not dry_run)
