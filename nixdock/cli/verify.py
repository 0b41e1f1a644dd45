"""`nixdock verify`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock import ImageError, verify_image
from nixdock.cli.options import FILE, quiet_option
from nixdock.cli.output import size_text
from nixdock.cli.progress import reading_progress
from nixdock.system.text import counted

__all__ = ["command"]


@click.command("verify")
@click.argument("image", type=FILE)
@click.option("--strict", is_flag=True, help="Let warnings be problems, too.")
@quiet_option
def command(image: Path, *, strict: bool, quiet: bool) -> None:
    """Check every digest, size and count in IMAGE, and that its layers can be unpacked.

    IMAGE is an archive or directory in any format that nixdock writes or that Docker, Podman or
    skopeo save. Each problem is printed on a line, as PLACE: MESSAGE, and so are warnings, as
    PLACE: warning: MESSAGE: some runtimes refuse what others take, or the image departs from the
    specifications in a way that all of them accept.
    """
    with reading_progress(quiet=quiet) as progress:
        result = verify_image(image, strict=strict, progress=progress)
    for problem in (*result.problems, *result.warnings):
        click.echo(str(problem))
    if result.problems:
        raise ImageError(f"{counted(len(result.problems), 'problem')} in {image}", path=image)
    counts = [counted(result.images, "image"), counted(result.layers, "layer")]
    click.echo(f"ok: {result.format}, {', '.join(counts)}, {size_text(result.size)}")
