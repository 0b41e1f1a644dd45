"""`nixdock build`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock.build.build import prepared_build
from nixdock.cli.form import format_option
from nixdock.cli.progress import layer_progress, quiet_option
from nixdock.cli.settling import settled, settling_options, tag_of
from nixdock.layers.compressors import Compression
from nixdock.layers.pack import pack_all
from nixdock.oci.layout import Format
from nixdock.spec.reading import read_spec
from nixdock.write.image import write_image

__all__ = ["command"]


@click.command("build")
@click.argument("spec", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="What to write.")
@format_option
@click.option(
    "--compression",
    type=click.Choice([compression.value for compression in Compression]),
    default=Compression.NONE.value,
    show_default=True,
    help="Of each layer; of the whole file for docker-archive.",
)
@click.option(
    "--legacy", is_flag=True, help="Add to a docker-archive what Docker needed before 1.10."
)
@settling_options
@click.option("--dry-run", is_flag=True, help="Write nothing, print each layer's digest and size.")
@quiet_option
def command(
    spec: Path,
    target: Path | None,
    form: str,
    compression: str,
    graph: str | None,
    tag: str | None,
    *,
    legacy: bool,
    tag_of_output: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Build the image that SPEC describes and print its digest.

    The digest is that of the image's manifest or, for a docker-archive, which has none, that of
    its config. Existing files are replaced, and only by a whole image.
    """
    if target is None and not dry_run:
        raise click.UsageError("name the output with -o, or ask for a --dry-run")
    if legacy and form != Format.DOCKER_ARCHIVE:
        raise click.UsageError(f"--legacy is for --format {Format.DOCKER_ARCHIVE}, not {form}")
    if tag_of_output:
        tag = tag_of(target, tag)
    chosen = Compression(compression)
    with (
        prepared_build(settled(read_spec(spec), graph, tag)) as build,
        layer_progress(len(build.layers), quiet=quiet or dry_run) as on_layer,
    ):
        if target is None or dry_run:
            image = build.assemble(pack_all(build.layers, None, chosen, on_layer=on_layer))
        else:
            image = write_image(build, target, Format(form), chosen, on_layer, legacy=legacy)
    if dry_run:
        for layer in image.layers:
            click.echo(f"{layer.digest} {layer.size}")
    docker_only = form == Format.DOCKER_ARCHIVE
    click.echo((image.config if docker_only else image.manifest).digest)
