"""`nixdock top-layer`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock.build.build import prepared_top_layer
from nixdock.rootfs.top_layer import write_top_layer
from nixdock.spec.reading import read_spec

__all__ = ["command"]


@click.command("top-layer")
@click.argument("spec", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True)
def command(spec: Path, target: Path) -> None:
    """Pack the image's own files, from SPEC's contents and extra_commands.

    The output is a directory with the tar and its checksum, for the `top_layer` of another spec.
    """
    with prepared_top_layer(read_spec(spec)) as source:
        write_top_layer(source, target)
