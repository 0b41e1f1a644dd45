"""Text for messages: untrusted names, counts, sizes, and shortened lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["counted", "listed", "listed_within", "path_text", "printable", "shown", "size_text"]

_MOST_NAME: Final = 200
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def shown(text: str | bytes, most: int = _MOST_NAME) -> str:
    """Return untrusted `text` as one printable line, shortened to `most` characters."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if len(text) > most:
        text = f"{text[:most]}..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable(text: str) -> str:
    """Return the lines of `text` with every character escaped that a terminal may act on."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def path_text(path: bytes) -> str:
    """Return the path of a trusted file in full, with bytes that are not UTF-8 escaped."""
    return path.decode("utf-8", "backslashreplace")


def counted(count: int, noun: str, zero: str = "0") -> str:
    """Return "1 layer" or "2 layers"; `zero` is the word for the count 0."""
    return f"{count or zero} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], most: int) -> str:
    """Return the first `most` names, with "and N more" if there are others."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def listed_within(names: Sequence[str], width: int) -> str:
    """Return as many names, with "and N more", as fit into `width` characters.

    A first name that does not fit is shortened.
    """
    # A name and its comma take at least three characters.
    for most in range(min(len(names), (width + 2) // 3), 1, -1):
        text = listed(names, most)
        if len(text) <= width:
            return text
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    room = width - len(more)
    first = names[0] if len(names[0]) <= room else f"{names[0][: room - 3]}..."
    return first + more


def size_text(size: int) -> str:
    """Return a size in bytes for people, in decimal units: 999 B, 1.0 kB."""
    value = float(size)
    for unit in _UNITS:
        # 999.95 would be rounded to 1000.0.
        if value < 999.95 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
