"""Options of `nixdock plan` that belong to one strategy: groups, pipelines and others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import Closure, StorePath
from nixdock.cli.store_paths import path_named
from nixdock.system.input_files import read_bytes

if TYPE_CHECKING:
    from nixdock.layering.pipeline.operations import Operation

__all__ = ["check_used", "group_of", "pipeline_in"]

_CLOSURE_OF: Final = "closure:"


def check_used(used: set[str], options: dict[str, tuple[object, str]]) -> None:
    """Raise UsageError if an option is given whose strategy is not used.

    `options` has the value and the strategy of each option.
    """
    for option, (value, strategy) in options.items():
        if value and strategy not in used:
            raise click.UsageError(f"{option} is for --strategy {strategy}")


def group_of(text: str, closure: Closure) -> dict[str, list[StorePath]]:
    """Return the JSON object of a group that is given as text."""
    group: dict[str, list[StorePath]] = {"paths": [], "closure_of": []}
    for part in text.split(","):
        key = "closure_of" if part.startswith(_CLOSURE_OF) else "paths"
        group[key].append(path_named(part.removeprefix(_CLOSURE_OF), closure.infos))
    return group


def pipeline_in(file: Path) -> tuple[Operation, ...]:
    """Return the operations in a file with dockerTools' layeringPipeline."""
    from nixdock.layering.pipeline.parse import read_pipeline

    return read_pipeline(read_bytes(file, "the pipeline"), str(file))
