"""The plan of a spec, for `nixdock plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import orjson
from click.core import ParameterSource

from nixdock import ClosureError, InputError, resolve_spec
from nixdock.cli.overwriting import keep_files_of
from nixdock.spec.reading import is_spec
from nixdock.system.input_files import read_bytes
from nixdock.system.presence import is_file

if TYPE_CHECKING:
    from nixdock import Access, Closure, ImageSpec, LayerPlan

__all__ = ["check_options", "has_spec", "planned"]

# The options that a spec has itself, or that need the ones of the command line.
_OF_GRAPHS: Final = frozenset(
    {
        *("compare", "exclude", "explain", "groups", "keys", "max_layers", "pipeline", "platform"),
        *("rest", "strategy", "volatile"),
    }
)


def has_spec(graph: Path) -> bool:
    """Tell whether a file has a spec in place of a graph."""
    # What can be read only once, such as standard input, is taken for a graph.
    if not is_file(graph):
        return False
    data = read_bytes(graph, "the spec or graph")
    if not data.lstrip().startswith(b"{"):
        return False
    try:
        return is_spec(orjson.loads(data))
    except ValueError:
        return False


def check_options(context: click.Context) -> None:
    """Raise UsageError if an option was given that is not for a spec."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in _OF_GRAPHS and context.get_parameter_source(name) != ParameterSource.DEFAULT:
            raise click.UsageError(
                f"{parameter.opts[0]} is for a graph; a spec says itself how its image is layered"
            )


def planned(spec: ImageSpec, file: Path, access: Access | None) -> tuple[Closure, LayerPlan]:
    """Return what is new in the image of the spec in a file, and the plan of that."""
    keep_files_of(spec)
    resolution = resolve_spec(spec, access=access)
    closure, plan = resolution.closure, resolution.plan
    if plan is None and spec.store_layers:
        raise InputError(
            f"{file}: the layers of a resolved spec are planned already; nixdock inspect shows"
            " them",
            path=file,
        )
    if closure is None or plan is None or not len(closure):
        raise ClosureError(f"{file}: the image has no store paths of its own", path=file)
    return closure, plan
