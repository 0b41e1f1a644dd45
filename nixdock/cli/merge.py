"""`nixdock merge`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock.layers.compressors import Compression, compressor
from nixdock.merge.images import compression_like, merge_images
from nixdock.spec.times import source_date_epoch
from nixdock.system.atomic import whole_file
from nixdock.system.background import in_background
from nixdock.system.cores import available_cores

__all__ = ["command"]


@click.command("merge")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    help="What to write.",
)
@click.option(
    "--compression",
    type=click.Choice([compression.value for compression in Compression]),
    help="Of the whole file.  [default: as the last image's]",
)
def command(images: tuple[Path, ...], target: Path, compression: str | None) -> None:
    """Put all images of IMAGES into one docker-archive, each layer once.

    IMAGES are archives or directories in any form that is written, or that Docker, Podman or
    skopeo save. Images keep their IDs and their order. Of several with the same name and tag, the
    last one has it, as when they are loaded one after another.
    """
    chosen = compression_like(images) if compression is None else Compression(compression)
    mtime = source_date_epoch()
    with whole_file(target) as file, in_background(file.write) as write:
        compressing = compressor(chosen, write, available_cores())
        merge_images(images, compressing.write, mtime=mtime)
        compressing.finish()
