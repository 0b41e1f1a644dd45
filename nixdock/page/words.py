"""Figures as words, also those that are not known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from nixdock.system.text import size_text

__all__ = ["UNKNOWN", "size_or_unknown", "total_or_unknown"]

UNKNOWN: Final = "?"
"""What stands in place of a figure that is not known."""


def size_or_unknown(size: int | None) -> str:
    """Return a size in bytes for people."""
    return UNKNOWN if size is None else size_text(size)


def total_or_unknown(sizes: Iterable[int | None]) -> str:
    """Return the sum of sizes for people, if all of them are known."""
    found = tuple(sizes)
    known = [size for size in found if size is not None]
    return size_or_unknown(sum(known) if len(known) == len(found) else None)
