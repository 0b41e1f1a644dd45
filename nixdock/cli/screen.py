"""What standard output can show: its width, colours, and characters for bars."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Mapping
from enum import Enum
from typing import Final

import click
from msgspec import Struct

__all__ = ["PLAIN", "Screen", "Style", "columns_of", "cut_text", "is_dumb", "standard_screen"]

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_ASCII_FILLS: Final = {"█": "#", "▒": "=", "░": "-", "·": "."}
_BAR_IN_FILE: Final = 24
_DOTS: Final = "..."


class Style(Enum):
    """How a text is shown where there are colours; the text itself must tell the same.

    The colours are those that people of any colour vision tell apart: yellow, cyan and none.
    """

    APP = "app"
    NEW = "new"
    MOVED = "moved"
    KEPT = "kept"
    GONE = "gone"
    HEAD = "head"
    FAINT = "faint"


_STYLES: Final[Mapping[Style, Mapping[str, object]]] = {
    Style.APP: {"bold": True},
    Style.NEW: {"fg": "yellow"},
    Style.MOVED: {"fg": "cyan"},
    Style.KEPT: {},
    Style.GONE: {"dim": True},
    Style.HEAD: {"bold": True},
    Style.FAINT: {"dim": True},
}


class Screen(Struct, frozen=True):
    """A terminal of `width` columns, or a file or pipe, whose lines may have any length.

    `has_blocks` says that it can show the block characters of Unicode, and arrows.
    """

    width: int | None = None
    has_colours: bool = False
    has_blocks: bool = True

    @property
    def bar_width(self) -> int:
        """How wide bars are: a sixth of the terminal, within limits."""
        return _BAR_IN_FILE if self.width is None else max(8, min(40, self.width // 6))

    def painted(self, text: str, style: Style | None) -> str:
        """Return `text` in a style, if there are colours."""
        if style is None or not self.has_colours or not text or not _STYLES[style]:
            return text
        return click.style(text, **_STYLES[style])  # type: ignore[arg-type]

    def fill(self, block: str) -> str:
        """Return a character of which bars are made, or what stands for it without Unicode."""
        return block if self.has_blocks else _ASCII_FILLS[block]

    def bar(self, size: int, most: int, width: int, fill: str = "█") -> str:
        """Return a bar to scale, in which `most` takes `width` columns; only 0 has no bar at all.

        Of a block that can't be divided, or without Unicode, whole characters are taken.
        """
        fill = self.fill(fill)
        if not size or not most:
            return ""
        if fill != "█":
            return fill * max(1, (2 * size * width + most) // (2 * most))
        eighths = max(1, (2 * 8 * size * width + most) // (2 * most))
        return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


PLAIN: Final = Screen()
"""A file or pipe."""


def standard_screen() -> Screen:
    """Return what standard output can show.

    There are no colours if NO_COLOR is set and not empty (no-color.org), or TERM is dumb
    or empty.
    """
    stream = sys.stdout
    blocks = _can_encode(getattr(stream, "encoding", None))
    if stream is None or not stream.isatty():
        return Screen(has_blocks=blocks)
    colours = not os.environ.get("NO_COLOR") and not is_dumb()
    return Screen(shutil.get_terminal_size().columns, colours, blocks)


def is_dumb() -> bool:
    """Tell whether the terminal can show nothing but text: TERM is dumb, empty or not set."""
    return os.environ.get("TERM", "") in {"", "dumb"}


def _can_encode(encoding: str | None) -> bool:
    try:
        "█▏→└".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def columns_of(text: str) -> int:
    """Return how many columns a terminal needs for printable text."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut_text(text: str, width: int) -> str:
    """Return at most `width` columns of printable text, with dots at the end if it is longer."""
    if columns_of(text) <= width:
        return text
    kept, left = "", width - len(_DOTS)
    for character in text:
        left -= _columns(character)
        if left < 0:
            break
        kept += character
    return f"{kept}{_DOTS}"[: max(0, width)]


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"F", "W"} else 1
