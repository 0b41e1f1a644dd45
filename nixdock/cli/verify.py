"""`nixdock verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nixdock import ImageError, verify_image
from nixdock.cli.access import access_options
from nixdock.cli.options import LOCATION, quiet_option
from nixdock.cli.output import size_text
from nixdock.cli.progress import reading_progress
from nixdock.oci.location import location_text
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.oci.location import Location

__all__ = ["command"]


@click.command("verify")
@click.argument("image", type=LOCATION)
@click.option("--strict", is_flag=True, help="Let warnings be problems, too.")
@access_options
@quiet_option
def command(image: Location, *, strict: bool, access: Access | None, quiet: bool) -> None:
    """Check every digest, size and count in IMAGE, and that its layers can be unpacked.

    IMAGE is a location: docker://HOST/NAME:TAG in a registry, or an archive or directory in any
    format that nixdock writes or that Docker, Podman or skopeo save. Each problem is printed on a
    line, as PLACE: MESSAGE, and so are warnings, as PLACE: warning: MESSAGE: some runtimes refuse
    what others take, or the image departs from the specifications in a way that all of them accept.
    """
    with reading_progress(quiet=quiet) as progress:
        result = verify_image(image, strict=strict, progress=progress, access=access)
    for problem in (*result.problems, *result.warnings):
        click.echo(str(problem))
    if result.problems:
        place = location_text(image)
        raise ImageError(f"{counted(len(result.problems), 'problem')} in {place}", path=place)
    counts = [counted(result.images, "image"), counted(result.layers, "layer")]
    click.echo(f"ok: {result.format}, {', '.join(counts)}, {size_text(result.size)}")
