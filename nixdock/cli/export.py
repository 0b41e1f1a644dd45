"""`nixdock export`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import export_image
from nixdock.cli.access import access_options
from nixdock.cli.location import LOCATION
from nixdock.cli.options import OUTPUT, platform_option
from nixdock.cli.output import is_standard_output, standard_output
from nixdock.cli.progress import wrote
from nixdock.oci.location import location_text
from nixdock.spec.times import source_date_epoch
from nixdock.system.atomic import whole_file
from nixdock.system.background import in_background

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.oci.location import Location

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock export hello.tar | tar --list
  nixdock export docker://alpine --platform linux/arm64 -o alpine.tar
"""


@click.command("export", epilog=_EXAMPLES)
@click.argument("image", type=LOCATION)
@click.option(
    "-o",
    "--output",
    "target",
    type=OUTPUT,
    help="File to write; - is standard output, the default.",
)
@click.option("--name", help="Name of the image, if IMAGE contains several.  [default: the first]")
@click.option("--tag", help="Tag of the image, if IMAGE contains several.")
@platform_option
@access_options
def command(
    image: Location,
    target: Path | None,
    name: str | None,
    tag: str | None,
    platform: str | None,
    access: Access | None,
) -> None:
    """Write the root file system of IMAGE as a tar.

    IMAGE is docker://REFERENCE, where docker:// may be left out, or an archive or directory in any
    format that nixdock writes or that Docker, Podman or skopeo save. All its layers are verified
    first. Owners and modes are those that a container sees; all modification times are
    SOURCE_DATE_EPOCH.
    """
    chosen = partial(
        export_image,
        image,
        mtime=source_date_epoch(),
        name=name,
        tag=tag,
        platform=platform,
        access=access,
    )
    if target is None or is_standard_output(target):
        out = standard_output("name a file with -o, or use a pipe")
        with in_background(out.write) as write:
            chosen(write)
    else:
        with whole_file(target) as file, in_background(file.write) as write:
            chosen(write)
        wrote(target, f"the root file system of {location_text(image)}")
