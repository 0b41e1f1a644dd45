"""`nixdock resolve`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from nixdock.atomic import whole_file
from nixdock.build import read_spec, resolve
from nixdock.reference import Reference
from nixdock.store_path import StorePath

__all__ = ["command"]


@click.command("resolve")
@click.argument("spec", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True)
@click.option("--graph", help="Read the closure's graph from this file instead.")
@click.option("--tag", help="Give the image this tag instead.")
@click.option("--tag-of-output", is_flag=True, help="Use the hash in the output's store path.")
def command(
    spec: Path, target: Path, graph: str | None, tag: str | None, *, tag_of_output: bool
) -> None:
    """Write SPEC with its plan made: the layers and what is known of their store paths.

    The result needs no graph and plans nothing, so an image can be built from it at any time.
    """
    if tag_of_output:
        if tag is not None:
            raise click.UsageError("--tag and --tag-of-output exclude each other")
        tag = StorePath.parse(str(target.absolute())).hash_part
    parsed = read_spec(spec)
    if graph is not None and parsed.closure is not None:
        closure = msgspec.structs.replace(parsed.closure, graph=graph)
        parsed = msgspec.structs.replace(parsed, closure=closure)
    if tag is not None:
        parsed = msgspec.structs.replace(parsed, tag=Reference.of(parsed.name, tag).tag)
    data = msgspec.json.encode(resolve(parsed), order="sorted")
    with whole_file(target) as file:
        file.write(data)
