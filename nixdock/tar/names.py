"""Normalised names of members: one name for each file, and none outside the root."""

from __future__ import annotations

from typing import Final

from nixdock.errors import ImageError
from nixdock.system.text import shown

__all__ = ["normalised"]

# The longest names that Linux can unpack, in bytes: PATH_MAX without its NUL, and NAME_MAX.
_MOST_PATH: Final = 4095
_MOST_COMPONENT: Final = 255
# Far more than real trees have. Work and memory grow with the square of the depth.
_MOST_DEPTH: Final = 256


def normalised(name: bytes) -> bytes:
    """Return `name` without `.` and needless slashes; the name of the root is empty.

    Raise ImageError if the name is empty, contains `..` or NUL, is too long for a file system, or
    is nested more than 256 levels deep.
    """
    if not name:
        raise ImageError("a name is empty")
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise ImageError(f"the name {shown(name)!r} contains '..'")
    if b"\0" in name:
        raise ImageError(f"the name {shown(name)!r} contains a NUL byte")
    if len(name) > _MOST_COMPONENT and (
        len(name) > _MOST_PATH or max(map(len, parts)) > _MOST_COMPONENT
    ):
        raise ImageError(f"the name {shown(name)!r} is too long for a file system")
    if len(parts) > _MOST_DEPTH:
        raise ImageError(f"the name {shown(name)!r} is nested more than {_MOST_DEPTH} levels deep")
    return b"/".join(parts)
