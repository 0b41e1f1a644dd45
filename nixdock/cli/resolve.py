"""`nixdock resolve`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from nixdock.atomic import whole_file
from nixdock.build import read_spec, resolved
from nixdock.cli.settling import settled, settling_options, tag_of

__all__ = ["command"]


@click.command("resolve")
@click.argument("spec", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True)
@settling_options
def command(
    spec: Path, target: Path, graph: str | None, tag: str | None, *, tag_of_output: bool
) -> None:
    """Write SPEC with its plan made: the layers and what is known of their store paths.

    The result needs no graph and plans nothing, so an image can be built from it at any time.
    """
    if tag_of_output:
        tag = tag_of(target, tag)
    data = msgspec.json.encode(resolved(settled(read_spec(spec), graph, tag)), order="sorted")
    with whole_file(target) as file:
        file.write(data)
