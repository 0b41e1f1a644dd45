"""`nixdock resolve`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec
import orjson

from nixdock.build.build import resolved
from nixdock.cli.settling import settled, settling_options, tag_of
from nixdock.spec.paths import absolute
from nixdock.spec.reading import read_spec
from nixdock.system.atomic import whole_file

__all__ = ["command"]

# A person may want to read it, and a version control system to compare it.
_PRETTY: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


@click.command("resolve")
@click.argument("spec", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True)
@click.option(
    "--plan", type=click.Path(path_type=Path), help="Write the plan alone to this file as well."
)
@settling_options
def command(
    spec: Path,
    target: Path,
    plan: Path | None,
    graph: str | None,
    tag: str | None,
    *,
    tag_of_output: bool,
) -> None:
    """Write SPEC with its plan made: the layers and what is known of their store paths.

    The result needs no graph and plans nothing, so an image can be built from it at any time.
    """
    if tag_of_output:
        tag = tag_of(target, tag)
    parsed = settled(read_spec(spec), graph, tag)
    made = resolved(parsed)
    with whole_file(target) as file:
        file.write(msgspec.json.encode(absolute(made.spec), order="sorted"))
    if plan is not None:
        with whole_file(plan) as file:
            file.write(orjson.dumps(made.plan_document(parsed.layering.strategy), option=_PRETTY))
