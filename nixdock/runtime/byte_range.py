"""The header field Range of a request (RFC 9110, 14.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Part", "UnsatisfiableError", "part_of", "several_parts_of"]

_RANGE: Final = re.compile(r"\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.ASCII)
_UNIT: Final = "bytes="
# Podman asks for at most 1,024 at a time.
_MOST_RANGES: Final = 1100


class UnsatisfiableError(Exception):
    """A range is malformed, or begins after the end."""


@dataclass(frozen=True, slots=True)
class Part:
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
    match = _RANGE.fullmatch(text[len(_UNIT) :])
    if match is None:
        raise UnsatisfiableError
    first, last = match.groups()
    if not first:
        # The last bytes, as many as the number says.
        if not last or int(last) == 0 or whole == 0:
            raise UnsatisfiableError
        size = min(int(last), whole)
        return Part(whole - size, size)
    start = int(first)
    end = min(int(last), whole - 1) if last else whole - 1
    if start >= whole or end < start:
        raise UnsatisfiableError
    return Part(start, end - start + 1)


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
