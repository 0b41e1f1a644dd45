"""The options that settle what a spec leaves open: the graph of the closure, and the tag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from nixdock.nix.store_path import StorePath
from nixdock.oci.reference import Reference
from nixdock.spec.image_spec import ImageSpec

__all__ = ["settled", "settling_options", "tag_of"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def settling_options(command: _Command) -> _Command:
    """Add --graph, --tag and --tag-of-output to a command."""
    for option in (
        click.option("--tag-of-output", is_flag=True, help="Use the hash in the output's path."),
        click.option("--tag", help="Give the image this tag instead."),
        click.option("--graph", help="Read the closure's graph from this file instead."),
    ):
        command = option(command)
    return command


def tag_of(output: Path | None, tag: str | None) -> str:
    """Return the tag that the store path of an output stands for."""
    if tag is not None:
        raise click.UsageError("--tag and --tag-of-output exclude each other")
    if output is None:
        raise click.UsageError("--tag-of-output needs an output, -o")
    return StorePath.parse(str(output.absolute())).hash_part


def settled(spec: ImageSpec, graph: str | None, tag: str | None) -> ImageSpec:
    """Return `spec` with another graph and tag, where there are any."""
    if graph is not None and spec.closure is not None:
        spec = msgspec.structs.replace(
            spec, closure=msgspec.structs.replace(spec.closure, graph=graph)
        )
    if tag is not None:
        spec = msgspec.structs.replace(spec, tag=Reference.of(spec.name, tag).tag)
    return spec
