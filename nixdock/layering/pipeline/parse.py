"""Reading a pipeline: everything in it is checked before anything runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import orjson

from nixdock.errors import InputError, LayeringError
from nixdock.layering.pipeline import operations as op
from nixdock.layering.pipeline.operations import Operation, Paths
from nixdock.nix.store_path import StorePath
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock.layering.pipeline.graph import Data

__all__ = ["parse_pipeline", "read_pipeline"]

log = logging.getLogger(__name__)


def read_pipeline(data: bytes, origin: str) -> tuple[Operation, ...]:
    """Read a pipeline from JSON; raise LayeringError that names `origin` and the place in it."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise LayeringError(f"{origin}: not valid JSON: {error}") from None
    try:
        return parse_pipeline(document)
    except LayeringError as error:
        raise LayeringError(f"{origin}: {error}") from None


def parse_pipeline(document: object, place: str = "pipeline") -> tuple[Operation, ...]:
    """Check a pipeline, a list of operations; raise LayeringError that says where it is wrong."""
    try:
        return _operations(document, place)
    except RecursionError:
        raise LayeringError(f"{place}: is nested too deeply") from None


def _operations(value: object, place: str) -> tuple[Operation, ...]:
    if not isinstance(value, list | tuple):
        raise LayeringError(f"{place}: must be a list of operations, not {_shown(value)}")
    parsed = []
    for i, item in enumerate(value):
        parsed.append(_operation(item, f"{place}[{i}]"))
    return tuple(parsed)


def _operation(value: object, place: str) -> Operation:
    if not isinstance(value, list | tuple) or not value or not isinstance(value[0], str):
        raise LayeringError(
            f"{place}: an operation is a list of its name and its arguments, not {_shown(value)}"
        )
    name, *arguments = value
    if name not in _OPERATIONS:
        names = ", ".join(sorted(_OPERATIONS))
        raise LayeringError(f"{place}: there is no operation {name!r}; there are: {names}")
    run, readers = _OPERATIONS[name]
    place = f"{place}.{name}"
    if len(arguments) != len(readers):
        takes = ", ".join(reader.__name__.strip("_") for reader in readers) or "no arguments"
        raise LayeringError(
            f"{place}: takes {takes}, but has {counted(len(arguments), 'argument', zero='no')}"
        )
    if name == "over":
        key = _name(arguments[0], place)
        return Operation(place, run, (key, _operation(arguments[1], f"{place}.{key}")))
    return Operation(
        place, run, tuple(r(a, place) for r, a in zip(readers, arguments, strict=True))
    )


def _name(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise LayeringError(f'{place}: expected a name, such as "main", not {_shown(value)}')
    return value


def _names(value: object, place: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise LayeringError(f"{place}: expected a list of names, not {_shown(value)}")
    return tuple(_name(item, f"{place}[{i}]") for i, item in enumerate(value))


def _count(value: object, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise LayeringError(f"{place}: expected a whole number from 1 on, not {_shown(value)}")
    return value


def _store_paths(value: object, place: str) -> Paths:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        raise LayeringError(f"{place}: expected a list of store paths, not {_shown(value)}")
    paths = []
    for i, item in enumerate(value):
        if not isinstance(item, str):
            raise LayeringError(f"{place}[{i}]: expected a store path, not {_shown(item)}")
        try:
            paths.append(StorePath.parse(item))
        except InputError as error:
            # dockerTools takes it for a path that has left the closure.
            log.warning("%s[%d]: %s; it is ignored", place, i, error)
    return Paths(tuple(paths))


def _store_paths_or_children_of(value: object, place: str) -> Paths:
    if not isinstance(value, dict):
        return _store_paths(value, place)
    if list(value) != ["children_of"]:
        keys = ", ".join(map(str, value)) or "none"
        raise LayeringError(f"{place}: the only key there may be is children_of; there are: {keys}")
    named = _store_paths(value["children_of"], f"{place}.children_of")
    return Paths(named.names, children_of=True)


def _shown(value: object) -> str:
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
