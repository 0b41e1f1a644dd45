"""What a value that does not fit its type may be instead: the keys and values that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

__all__ = ["hint"]

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_LIKENESS: Final = 0.75


def hint(message: str, kind: type[Any], steps: Sequence[str | int]) -> str:
    """Return what to add to the message of msgspec on the value at `steps` of a `kind`, or ""."""
    if unknown := _UNKNOWN.fullmatch(message):
        similar = similar_key(unknown[1], _keys(kind, steps))
        return f"; did you mean {similar}?" if similar else ""
    if message.startswith("Invalid enum value"):
        values = [str(value) for value in _values(kind, steps)]
        return f"; it must be {', '.join(values[:-1])}{' or ' * (len(values) > 1)}{values[-1]}"
    return ""


def similar_key(key: str, keys: Sequence[str]) -> str | None:
    """Return the one of `keys` that `key` may be a misspelling of, in whatever case and style."""
    from difflib import get_close_matches  # noqa: PLC0415 (for errors alone)

    plain = {_plain(each): each for each in keys}
    near = get_close_matches(_plain(key), plain, n=1, cutoff=_LIKENESS)
    return plain[near[0]] if near else None


def _plain(key: str) -> str:
    return key.casefold().replace("_", "").replace("-", "")


def _keys(kind: type[Any], steps: Sequence[str | int]) -> list[str]:
    structs = (each for each in _types_at(kind, steps) if hasattr(each, "fields"))
    return [field.encode_name for each in structs for field in each.fields]


def _values(kind: type[Any], steps: Sequence[str | int]) -> list[Any]:
    literals = (each for each in _types_at(kind, steps) if hasattr(each, "values"))
    return [value for each in literals for value in each.values]


def _types_at(kind: type[Any], steps: Sequence[str | int]) -> list[Any]:
    """Return the alternatives of the type at `steps`."""
    found = list(_alternatives(msgspec.inspect.type_info(kind)))
    for step in steps:
        found = [inner for each in found for inner in _alternatives(_inner(each, step))]
    return found


def _alternatives(info: Any) -> Iterator[Any]:
    """Yield the types that a type may stand for, without what is only said of it."""
    if info is None:
        return
    if isinstance(info, msgspec.inspect.Metadata):
        yield from _alternatives(info.type)
    elif isinstance(info, msgspec.inspect.UnionType):
        for each in info.types:
            yield from _alternatives(each)
    else:
        yield info


def _inner(info: Any, step: str | int) -> Any:
    if hasattr(info, "fields"):
        return next((field.type for field in info.fields if field.encode_name == step), None)
    return getattr(info, "item_type" if isinstance(step, int) else "value_type", None)
