"""Converting JSON values to types, with errors that name the key at fault."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

__all__ = ["MisfitError", "convert"]

_Typed = TypeVar("_Typed")

_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_ANY_KEY: Final = "..."


class MisfitError(Exception):
    """A value does not fit its type; `key` is where, such as `Labels.version`, or empty."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(f"{key}: {message}" if key else message)
        self.message = message
        self.key = key


def convert(value: Any, kind: type[_Typed], *, strict: bool = True) -> _Typed:
    """Convert a JSON value to `kind`; raise MisfitError if it does not fit."""
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        message, path = _parts(error)
        if not path and (missing := _missing(value, kind)):
            noun = "field" if len(missing) == 1 else "fields"
            message = f"Object missing required {noun} {', '.join(missing)}"
        steps, key = _place(value, kind, path, strict=strict)
        raise MisfitError(message + _hint(message, kind, steps), key) from None


def _hint(message: str, kind: type[Any], steps: Sequence[str | int]) -> str:
    from nixdock.system.type_hints import hint  # noqa: PLC0415 (slow to load, and for errors alone)

    return hint(message, kind, steps)


def _parts(error: msgspec.ValidationError) -> tuple[str, str]:
    """Split "MESSAGE - at `$PATH`", where `[...]` in PATH is any key of an object."""
    message, _, path = str(error).partition(" - at `$")
    return message, path.rstrip("`")


def _missing(value: Any, kind: type[Any]) -> list[str]:
    """Return all required fields that an object lacks; msgspec names only the first."""
    if not isinstance(value, dict) or not issubclass(kind, msgspec.Struct):
        return []
    fields = msgspec.structs.fields(kind)
    return [f"`{f.encode_name}`" for f in fields if f.required and f.encode_name not in value]


def _place(value: Any, kind: type[Any], path: str, *, strict: bool) -> tuple[list[str | int], str]:
    """Return the steps of `path`, and their text, with the actual key in place of each `[...]`."""
    steps: list[str | int] = []
    text = ""
    for name, index in _STEP.findall(path):
        if index == _ANY_KEY:
            step: str | int = _misfit(value, kind, path, steps, strict=strict)
            text += f"[{step!r}]"
        elif index:
            step = int(index)
            text += f"[{step}]"
        else:
            step = name
            text += f".{step}"
        steps.append(step)
    return steps, text.removeprefix(".")


def _misfit(
    value: Any, kind: type[Any], path: str, steps: Sequence[str | int], *, strict: bool
) -> str:
    """Return the key of the object at `steps` whose value causes the error at `path`."""
    items = [*_at(value, steps).items()]
    while len(items) > 1:
        half = items[: len(items) // 2]
        try:
            msgspec.convert(_replaced(value, steps, dict(half)), kind, strict=strict)
        except msgspec.ValidationError as error:
            if _parts(error)[1] == path:
                items = half
                continue
        items = items[len(half) :]
    return str(items[0][0])


def _at(value: Any, steps: Sequence[str | int]) -> Any:
    for step in steps:
        value = value[step]
    return value


def _replaced(value: Any, steps: Sequence[str | int], new: Any) -> Any:
    """Return `value` with `new` at `steps`."""
    if not steps:
        return new
    first, *rest = steps
    copy = value.copy()
    copy[first] = _replaced(value[first], rest, new)
    return copy
