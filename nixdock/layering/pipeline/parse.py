"""Reading a pipeline: all of it is checked before any operation runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from nixdock.errors import InputError, LayeringError
from nixdock.layering.pipeline import operations as op
from nixdock.layering.pipeline.operations import Operation, Paths
from nixdock.nix.store_path import StorePath
from nixdock.system.strict_json import parse_strictly
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock.layering.pipeline.graph import Data

__all__ = ["parse_pipeline", "read_pipeline"]

log = logging.getLogger(__name__)


def read_pipeline(data: bytes, origin: str) -> tuple[Operation, ...]:
    """Read a pipeline from JSON.

    Raise LayeringError, which names `origin` and the key, if it is not JSON or not a pipeline.
    """
    try:
        document = parse_strictly(data)
    except ValueError as error:
        raise LayeringError(f"{origin} is not valid JSON: {error}") from None
    try:
        return parse_pipeline(document)
    except LayeringError as error:
        raise LayeringError(f"{origin}: {error}", key=error.key) from None


def parse_pipeline(document: object, place: str = "pipeline") -> tuple[Operation, ...]:
    """Check a pipeline; raise LayeringError, with the key, if it is not a list of operations."""
    try:
        return _operations(document, place)
    except RecursionError:
        raise _error(place, "the operations are nested too deeply") from None


def _error(place: str, message: str) -> LayeringError:
    return LayeringError(f"{place}: {message}", key=place)


def _operations(value: object, place: str) -> tuple[Operation, ...]:
    if not isinstance(value, list | tuple):
        raise _error(place, f"must be a list of operations, not {_json_text(value)}")
    return tuple([_operation(item, f"{place}[{i}]") for i, item in enumerate(value)])


def _operation(value: object, place: str) -> Operation:
    if not isinstance(value, list | tuple) or not value or not isinstance(value[0], str):
        raise _error(
            place,
            f"an operation is a list of its name and its arguments, not {_json_text(value)}",
        )
    name, *arguments = value
    if name not in _OPERATIONS:
        names = ", ".join(sorted(_OPERATIONS))
        raise _error(place, f"there is no operation {name!r}; choose from {names}")
    run, readers = _OPERATIONS[name]
    place = f"{place}.{name}"
    if len(arguments) != len(readers):
        expected = ", ".join(reader.__name__.strip("_") for reader in readers) or "no arguments"
        count = counted(len(arguments), "argument", zero="no")
        raise _error(place, f"takes {expected}, but has {count}")
    if name == "over":
        key = _name(arguments[0], place)
        return Operation(place, run, (key, _operation(arguments[1], f"{place}.{key}")))
    return Operation(
        place, run, tuple(r(a, place) for r, a in zip(readers, arguments, strict=True))
    )


def _name(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise _error(place, f'expected a name, such as "main", not {_json_text(value)}')
    return value


def _names(value: object, place: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise _error(place, f"expected a list of names, not {_json_text(value)}")
    return tuple(_name(item, f"{place}[{i}]") for i, item in enumerate(value))


def _count(value: object, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _error(place, f"expected a positive whole number, not {_json_text(value)}")
    return value


def _store_paths(value: object, place: str) -> Paths:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        raise _error(place, f"expected a list of store paths, not {_json_text(value)}")
    paths = []
    for i, item in enumerate(value):
        if not isinstance(item, str):
            raise _error(f"{place}[{i}]", f"expected a store path, not {_json_text(item)}")
        try:
            paths.append(StorePath.parse(item))
        except InputError as error:
            # A warning, not an error: dockerTools treats any text that is not in the closure alike,
            # as a path that has left it, and pipelines written for dockerTools must work.
            log.warning("%s[%d]: %s; it is ignored", place, i, error)
    return Paths(tuple(paths))


def _store_paths_or_children_of(value: object, place: str) -> Paths:
    if not isinstance(value, dict):
        return _store_paths(value, place)
    if list(value) != ["children_of"]:
        keys = ", ".join(map(str, value)) or "none"
        raise _error(place, f"the only key must be children_of, but the keys are: {keys}")
    parents = _store_paths(value["children_of"], f"{place}.children_of")
    return Paths(parents.names, children_of=True)


def _json_text(value: object) -> str:
    # Not by orjson, which refuses integers of more than 64 bits and unpaired surrogates. A value
    # that is nested too deeply raises RecursionError, which `parse_pipeline` reports.
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else f"{text[:60]}..."


_OPERATIONS: Final[dict[str, tuple[Callable[..., Data], tuple[Callable[[Any, str], Any], ...]]]] = {
    "flatten": (op.flatten, ()),
    "limit_layers": (op.limit_layers, (_count,)),
    "map": (op.map_, (_operation,)),
    "over": (op.over, (_name, _operation)),
    "pipe": (op.pipe, (_operations,)),
    "popularity_contest": (op.popularity_contest, ()),
    "remove_paths": (op.remove_paths, (_store_paths,)),
    "reorder": (op.reorder, (_names,)),
    "reverse": (op.reverse, ()),
    "split_every": (op.split_every, (_count,)),
    "split_paths": (op.split_paths, (_store_paths_or_children_of,)),
    "subcomponent_in": (op.subcomponent_in, (_store_paths,)),
    "subcomponent_out": (op.subcomponent_out, (_store_paths,)),
}
