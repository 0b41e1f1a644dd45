"""`nixdock verify`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock.cli.progress import size_text
from nixdock.errors import ImageError
from nixdock.read.verify import verify
from nixdock.system.text import counted

__all__ = ["command"]


@click.command("verify")
@click.argument("image", type=click.Path(path_type=Path))
def command(image: Path) -> None:
    """Check every digest, size and count in IMAGE, and that its layers can be unpacked.

    IMAGE is an archive or a directory in any form that is written, or that Docker, Podman or
    skopeo save. What is wrong is listed, a problem a line, as PLACE: MESSAGE.
    """
    found = verify(image)
    for problem in found.problems:
        click.echo(str(problem))
    if found.problems:
        raise ImageError(f"{counted(len(found.problems), 'problem')} in {image}")
    counts = [counted(found.images, "image"), counted(found.layers, "layer")]
    click.echo(f"ok: {found.format}, {', '.join(counts)}, {size_text(found.size)}")
