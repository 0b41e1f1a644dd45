"""`nixdock export`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nixdock.rootfs.export import export_image
from nixdock.spec.times import source_date_epoch
from nixdock.system.atomic import StreamWriter, whole_file
from nixdock.system.background import in_background

__all__ = ["command"]


@click.command("export")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="What to write.")
@click.option("--name", help="Which image, where there are several: its name.")
@click.option("--tag", help="Its tag.")
def command(image: Path, target: Path | None, name: str | None, tag: str | None) -> None:
    """Write the root file system of IMAGE as a tar.

    IMAGE is an archive or a directory in any form that is written, or that Docker, Podman or
    skopeo save. All its layers are verified first. Owners and modes are as a container has them,
    and all times are SOURCE_DATE_EPOCH. Without -o, the tar goes to standard output.
    """
    mtime = source_date_epoch()
    if target is None:
        out = _standard_output()
        with in_background(out.write) as write:
            export_image(image, write, mtime=mtime, name=name, tag=tag)
        return
    with whole_file(target) as file, in_background(file.write) as write:
        export_image(image, write, mtime=mtime, name=name, tag=tag)


def _standard_output() -> StreamWriter:
    if sys.stdout is None:
        raise click.UsageError("standard output is closed; name a file with -o")
    if sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal; name a file with -o, or pipe it")
    return StreamWriter(sys.stdout.fileno(), "standard output")
