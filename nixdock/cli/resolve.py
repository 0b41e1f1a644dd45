"""`nixdock resolve`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock import read_spec, resolve_spec, spec_json
from nixdock.cli.options import (
    FILE,
    output_tag,
    overridden,
    override_options,
    spec_argument,
)
from nixdock.cli.output import pretty_json
from nixdock.system.atomic import whole_file

__all__ = ["command"]


@click.command("resolve")
@spec_argument
@click.option(
    "-o",
    "--output",
    "target",
    type=FILE,
    required=True,
    help="File to write the resolved spec to.",
)
@click.option("--plan", type=FILE, help="File to write the plan to as well.")
@override_options
def command(
    spec: Path,
    target: Path,
    plan: Path | None,
    graph: str | None,
    tag: str | None,
    *,
    tag_of_output: bool,
) -> None:
    """Plan the layers of SPEC and write the resolved spec.

    The resolved spec contains the layers and what is known about their store paths, so an image can
    be built from it at any time without the graph.
    """
    if tag_of_output:
        tag = output_tag(target, tag)
    parsed = overridden(read_spec(spec), graph, tag)
    resolution = resolve_spec(parsed)
    with whole_file(target) as file:
        file.write(spec_json(resolution.spec))
    if plan is not None:
        with whole_file(plan) as file:
            file.write(pretty_json(resolution.plan_document(parsed.layering.strategy)))
