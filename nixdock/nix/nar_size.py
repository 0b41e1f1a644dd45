"""The size of a NAR, from the kinds, names and sizes of the files in it.

A NAR is a sequence of strings, each with eight bytes for its length and zeros up to a multiple of
eight (Nix manual, "Nix Archive (NAR) format"), so that its size is a sum over its files.
"""

from __future__ import annotations

from typing import Final

__all__ = ["NAR_START", "directory_size", "entry_size", "file_size", "symlink_size"]


def _string(length: int) -> int:
    return 8 + length + -length % 8


def _strings(*texts: str) -> int:
    return sum(_string(len(text)) for text in texts)


NAR_START: Final = _strings("nix-archive-1")
"""The size of what comes before the root, in bytes."""

_ENTRY: Final = _strings("entry", "(", "name", "node", ")")
_DIRECTORY: Final = _strings("(", "type", "directory", ")")
_FILE: Final = _strings("(", "type", "regular", "contents", ")")
_EXECUTABLE: Final = _strings("executable", "")
_SYMLINK: Final = _strings("(", "type", "symlink", "target", ")")


def entry_size(name_length: int) -> int:
    """Return what an entry of a directory takes beside its file, given its name's bytes."""
    return _ENTRY + _string(name_length)


def directory_size() -> int:
    """Return what a directory takes beside its entries."""
    return _DIRECTORY


def file_size(size: int, *, executable: bool) -> int:
    """Return what a file of `size` bytes takes."""
    return _FILE + _string(size) + (_EXECUTABLE if executable else 0)


def symlink_size(target_length: int) -> int:
    """Return what a symlink takes, given the number of bytes of its target."""
    return _SYMLINK + _string(target_length)
