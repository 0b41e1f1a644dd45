"""`nixdock resolve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import read_spec, resolve_spec, spec_json
from nixdock.cli.access import access_options
from nixdock.cli.options import (
    OUTPUT,
    names_text,
    output_tag,
    overridden,
    override_options,
    spec_argument,
)
from nixdock.cli.output import is_standard_output
from nixdock.cli.overwriting import keep_files_of
from nixdock.cli.progress import wrote
from nixdock.cli.stores import ChosenStores, realise_option, store_options
from nixdock.system.atomic import whole_file
from nixdock.system.json_text import json_text
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.oci.location import Location

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock resolve hello.json -o hello.resolved.json
  nixdock resolve hello.json -o hello.resolved.json --previous ghcr.io/me/hello:latest
"""


@click.command("resolve", epilog=_EXAMPLES)
@spec_argument
@click.option(
    "-o",
    "--output",
    "target",
    type=OUTPUT,
    required=True,
    help="File to write the resolved spec to; - is standard output.",
)
@click.option(
    "--plan", type=OUTPUT, help="File to write the plan to as well; - is standard output."
)
@override_options
@store_options
@realise_option
@access_options
def command(
    spec: Path,
    target: Path,
    plan: Path | None,
    graph: str | None,
    tags: tuple[str, ...],
    previous: tuple[Location, ...],
    chosen: ChosenStores,
    *,
    tag_of_output: bool,
    access: Access | None,
) -> None:
    """Plan the layers of SPEC and write the resolved spec.

    The resolved spec contains the layers and what is known about their store paths, so an image can
    be built from it at any time without the graph. A base image in a registry is named by its
    digest there.
    """
    if tag_of_output:
        tags = (output_tag(target, tags),)
    if plan is not None and is_standard_output(target) and is_standard_output(plan):
        raise click.UsageError("the spec and the plan can't both go to standard output")
    parsed = chosen.applied_to(overridden(read_spec(spec), graph, tags, previous), access)
    keep_files_of(parsed)
    resolution = resolve_spec(parsed, access=access)
    with whole_file(target) as file:
        file.write(spec_json(resolution.spec))
    layers = counted(len(resolution.spec.store_layers or ()), "layer")
    wrote(target, f"{names_text(parsed)} with {layers} of store paths")
    if plan is not None:
        with whole_file(plan) as file:
            file.write(json_text(resolution.plan_document(parsed.layering.strategy)))
