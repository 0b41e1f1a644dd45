"""`nixdock merge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import merge_images
from nixdock.cli.access import access_options
from nixdock.cli.location import LOCATION
from nixdock.cli.options import COMPRESSION, OUTPUT
from nixdock.cli.output import check_not_terminal
from nixdock.cli.progress import wrote
from nixdock.spec.times import source_date_epoch
from nixdock.system.atomic import whole_file
from nixdock.system.background import in_background
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Access, Compression
    from nixdock.oci.location import Location

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock merge hello.tar docker://ghcr.io/me/app:v1 -o both.tar
"""


@click.command("merge", epilog=_EXAMPLES)
@click.argument("images", nargs=-1, type=LOCATION)
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
    type=COMPRESSION,
    help="Compression of the whole file.  [default: that of the last image]",
)
@click.option(
    "--platform",
    metavar="OS/ARCH[/VARIANT]",
    help="Take only the images for this platform."
    "  [default: all images in files, that for linux/amd64 of an index in a registry]",
)
@access_options
def command(
    images: tuple[Location, ...],
    target: Path,
    compression: Compression | None,
    platform: str | None,
    access: Access | None,
) -> None:
    """Combine all images at the locations IMAGES into one docker-archive, each layer once.

    Each is docker://REFERENCE, where docker:// may be left out, or an archive or directory in any
    format that nixdock writes or that Docker, Podman or skopeo save. The images keep their IDs and
    their order. If several images have the same name and tag, the last one gets it, as if they were
    loaded one after another.
    """
    check_not_terminal(target)
    mtime = source_date_epoch()
    with whole_file(target) as file, in_background(file.write) as write:
        merge_images(
            images, write, compression=compression, mtime=mtime, platform=platform, access=access
        )
    wrote(target, f"the images of {counted(len(images), 'location')}")
