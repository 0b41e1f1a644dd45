"""`nixdock resolve`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from nixdock.atomic import whole_file
from nixdock.build import read_spec, resolve

__all__ = ["command"]


@click.command("resolve")
@click.argument("spec", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True)
def command(spec: Path, target: Path) -> None:
    """Write SPEC with its plan made: the layers and what is known of their store paths.

    The result needs no graph and plans nothing, so an image can be built from it at any time.
    """
    data = msgspec.json.encode(resolve(read_spec(spec)), order="sorted")
    with whole_file(target) as file:
        file.write(data)
