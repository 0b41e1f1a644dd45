"""The header field Range of a request (RFC 9110, 14.2)."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

__all__ = ["Part", "UnsatisfiableError", "part_of", "several_parts_of"]

_DIGITS: Final = re.compile(r"[0-9]*", re.ASCII)
# No blob is as long as a number with more digits says, and such a number may be slow to convert.
_MOST_DIGITS: Final = 18
_ENDLESS: Final = 10**_MOST_DIGITS
_UNIT: Final = "bytes="
# Podman asks for at most 1,024 at a time.
_MOST_RANGES: Final = 1100


class UnsatisfiableError(Exception):
    """A range is malformed, or begins after the end."""


class Part(Struct, frozen=True):
    """`size` bytes from `start`."""

    start: int
    size: int


def part_of(text: str | None, whole: int) -> Part | None:
    """Return the part of `whole` bytes that a range asks for, or None if all are to be sent.

    That is so without a range, and for other units, which a server may ignore; several ranges are
    for `several_parts_of`.
    """
    if text is None or not text.lower().startswith(_UNIT) or "," in text:
        return None
    before, hyphen, after = text[len(_UNIT) :].partition("-")
    first, last = _number(before), _number(after)
    if not hyphen:
        raise UnsatisfiableError
    if first is None:
        # The last bytes, as many as the number says.
        if not last or whole == 0:
            raise UnsatisfiableError
        size = min(last, whole)
        return Part(whole - size, size)
    end = whole - 1 if last is None else min(last, whole - 1)
    if first >= whole or end < first:
        raise UnsatisfiableError
    return Part(first, end - first + 1)


def _number(text: str) -> int | None:
    """Return the number, or _ENDLESS if that is less, or None if there is none."""
    digits = text.strip()
    if _DIGITS.fullmatch(digits) is None:
        raise UnsatisfiableError
    if not digits:
        return None
    significant = digits.lstrip("0")
    return _ENDLESS if len(significant) > _MOST_DIGITS else int(significant or "0")


def several_parts_of(text: str | None, whole: int) -> tuple[Part, ...]:
    """Return the parts of `whole` bytes that several ranges ask for, or none to send all.

    Ranges that are malformed, too many, or not in order are ignored, as a server may do: they could
    ask for more than there is.
    """
    if text is None or not text.lower().startswith(_UNIT):
        return ()
    ranges = text[len(_UNIT) :].split(",", _MOST_RANGES)
    if not 2 <= len(ranges) <= _MOST_RANGES:
        return ()
    found: list[Part] = []
    end = 0
    for each in ranges:
        try:
            part = part_of(_UNIT + each, whole)
        except UnsatisfiableError:
            return ()
        if part is None or part.start < end:
            return ()
        found.append(part)
        end = part.start + part.size
    return tuple(found)
