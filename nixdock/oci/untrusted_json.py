"""JSON from elsewhere: what could be read in two ways, or exhausts memory, is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec

from nixdock.errors import ImageError
from nixdock.system.text import shown

__all__ = ["MOST_JSON", "MOST_JSON_IN_ALL", "converted", "parse_json"]

MOST_JSON: Final = 4 << 20
"""The size in bytes that a manifest, an index or a config may have; registries allow no more."""

MOST_JSON_IN_ALL: Final = 64 << 20
"""The size in bytes that all documents of an image file together may have."""

_MOST_DEPTH: Final = 64

Document = TypeVar("Document")


def parse_json(data: bytes) -> Any:
    """Return the value; raise ImageError unless it is I-JSON (RFC 7493) of bounded size and depth.

    Two objects of the same name are refused: readers differ in which one they take.
    """
    if len(data) > MOST_JSON:
        raise ImageError(f"has {len(data)} bytes, but at most {MOST_JSON} are read as JSON")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
    except RecursionError:
        raise ImageError("is JSON that is nested too deeply") from None
    except ValueError as error:
        raise ImageError(f"is not valid JSON: {shown(str(error))}") from None
    _check(value)
    return value


def converted(value: Any, document: type[Document]) -> Document:
    """Return the parsed JSON as a `document`; raise ImageError that says which key is wrong."""
    try:
        return msgspec.convert(value, document)
    except msgspec.ValidationError as error:
        raise ImageError(f"is not as expected: {shown(str(error))}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in an object")
    return value


def _integer(digits: str) -> int:
    value = int(digits) if len(digits) <= 20 else 1 << 64
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"a number does not fit into 64 bits: {digits}")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"a number is too large: {digits}")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _check(value: Any) -> None:
    """Refuse deep nesting and surrogates, which can't be printed or written again."""
    level: list[Any] = [value]
    for _ in range(_MOST_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_text([item])
            elif isinstance(item, dict):
                _check_text(item)
                below += item.values()
            elif isinstance(item, list):
                below += item
        if not below:
            return
        level = below
    raise ImageError(f"is JSON that is nested more than {_MOST_DEPTH} deep")


def _check_text(texts: Iterable[str]) -> None:
    for text in texts:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ImageError(f"is not valid JSON: {shown(text)!r} is not Unicode") from None
