"""`nixdock merge`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock import Compression, merge_images
from nixdock.cli.options import FILE, OUTPUT
from nixdock.cli.output import check_not_terminal
from nixdock.cli.progress import wrote
from nixdock.spec.times import source_date_epoch
from nixdock.system.atomic import whole_file
from nixdock.system.background import in_background
from nixdock.system.text import counted

__all__ = ["command"]


@click.command("merge")
@click.argument("images", nargs=-1, type=FILE)
@click.option(
    "-o",
    "--output",
    "target",
    type=OUTPUT,
    required=True,
    help="File to write; - is standard output.",
)
@click.option(
    "--compression",
    type=click.Choice([compression.value for compression in Compression]),
    help="Compression of the whole file.  [default: that of the last image]",
)
def command(images: tuple[Path, ...], target: Path, compression: str | None) -> None:
    """Combine all images in the files IMAGES into one docker-archive, each layer once.

    IMAGES are archives or directories in any format that nixdock writes or that Docker, Podman or
    skopeo save. The images keep their IDs and their order. If several images have the same name
    and tag, the last one gets it, as if they were loaded one after another.
    """
    check_not_terminal(target)
    mtime = source_date_epoch()
    with whole_file(target) as file, in_background(file.write) as write:
        merge_images(images, write, compression=compression, mtime=mtime)
    wrote(target, f"the images of {counted(len(images), 'file')}")
