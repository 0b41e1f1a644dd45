"""Strict parsing of JSON from untrusted images: ambiguous or excessive documents are refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from msgspec import Struct

from nixdock.errors import ImageError
from nixdock.system.text import shown
from nixdock.system.typed import MisfitError, convert

__all__ = ["MOST_JSON", "MOST_JSON_IN_ALL", "JsonBudget", "converted", "parse_json"]

MOST_JSON: Final = 4 << 20
"""The largest size of a manifest, an index or a config, in bytes; registries allow no more."""

MOST_JSON_IN_ALL: Final = 64 << 20
"""The largest total size of the documents of an image file, in bytes."""

_MOST_DEPTH: Final = 64
_MOST_VALUES_IN_ALL: Final = 500_000

Document = TypeVar("Document")


class JsonBudget(Struct):
    """How much JSON may still be read from an image file: bytes, and values in documents.

    A value is an object, a list, a text, a number or a word; small ones take far more memory than
    bytes.
    """

    bytes_left: int = MOST_JSON_IN_ALL
    values_left: int = _MOST_VALUES_IN_ALL

    def take(self, values: int) -> None:
        """Count values; raise ImageError if there are too many."""
        self.values_left -= values
        if self.values_left < 0:
            raise ImageError(
                f"the JSON documents of the image have more than {_MOST_VALUES_IN_ALL} values in"
                " all: it is not an image"
            )


def parse_json(data: bytes, what: str = "the document", budget: JsonBudget | None = None) -> Any:
    """Parse I-JSON (RFC 7493) of bounded size and depth, whose values are taken from `budget`.

    Duplicate keys are refused because readers differ in which value they use. Raise ImageError,
    with `what` as its subject, if `data` is anything else.
    """
    if len(data) > MOST_JSON:
        raise ImageError(
            f"{what} has {len(data)} bytes, but JSON documents may have at most {MOST_JSON}"
        )
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
        _check_text_and_depth(value, budget or JsonBudget())
    except RecursionError:
        raise ImageError(f"{what} is not valid JSON: it is nested too deeply") from None
    except ValueError as error:
        raise ImageError(f"{what} is not valid JSON: {shown(str(error))}") from None
    return value


def converted(value: Any, document: type[Document], what: str = "the document") -> Document:
    """Convert parsed JSON to the type `document`.

    Raise ImageError, with `what` as its subject and the wrong key in `key`, if it does not fit.
    """
    try:
        return convert(value, document)
    except MisfitError as error:
        place = f"{error.key}: " if error.key else ""
        raise ImageError(
            f"{what} is malformed: {shown(f'{place}{error.message}')}", key=error.key or None
        ) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} appears twice in an object")
            seen.add(key)
    return value


def _integer(digits: str) -> int:
    # Check the length first: converting a million digits would take long.
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


def _check_text_and_depth(value: Any, budget: JsonBudget) -> None:
    """Raise ValueError for deep nesting and for lone surrogates, which can't be encoded again.

    Take all values from `budget`.
    """
    level: list[Any] = [value]
    for _ in range(_MOST_DEPTH):
        budget.take(len(level))
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
    raise ValueError(f"it is nested more than {_MOST_DEPTH} levels deep")


def _check_text(texts: Iterable[str]) -> None:
    for text in texts:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{shown(text)!r} is not Unicode text") from None
