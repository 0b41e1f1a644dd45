"""`nixdock export`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock import export_image
from nixdock.cli.options import FILE, OUTPUT, platform_option
from nixdock.cli.output import is_standard_output, standard_output
from nixdock.cli.progress import wrote
from nixdock.spec.times import source_date_epoch
from nixdock.system.atomic import whole_file
from nixdock.system.background import in_background

__all__ = ["command"]


@click.command("export")
@click.argument("image", type=FILE)
@click.option(
    "-o",
    "--output",
    "target",
    type=OUTPUT,
    help="File to write; - is standard output, the default.",
)
@click.option("--name", help="Name of the image, if IMAGE contains several.")
@click.option("--tag", help="Tag of the image, if IMAGE contains several.")
@platform_option
def command(
    image: Path, target: Path | None, name: str | None, tag: str | None, platform: str | None
) -> None:
    """Write the root file system of IMAGE as a tar.

    IMAGE is an archive or directory in any format that nixdock writes or that Docker, Podman or
    skopeo save. All its layers are verified first. Owners and modes are those that a container
    sees; all modification times are SOURCE_DATE_EPOCH.
    """
    mtime = source_date_epoch()
    if target is None or is_standard_output(target):
        out = standard_output("name a file with -o, or use a pipe")
        with in_background(out.write) as write:
            export_image(image, write, mtime=mtime, name=name, tag=tag, platform=platform)
    else:
        with whole_file(target) as file, in_background(file.write) as write:
            export_image(image, write, mtime=mtime, name=name, tag=tag, platform=platform)
        wrote(target, f"the root file system of {image}")
