"""Normalised names of members: one name for each file, and none outside the root."""

from __future__ import annotations

from typing import Final

from nixdock.errors import ImageError
from nixdock.system.text import shown

__all__ = ["normalised"]

# The longest names that Linux can unpack, in bytes: PATH_MAX without its NUL, and NAME_MAX.
_MOST_PATH: Final = 4095
_MOST_COMPONENT: Final = 255


def normalised(name: bytes) -> bytes:
    """Return `name` without `.` and needless slashes; the name of the root is empty.

    Raise ImageError if the name is empty, contains `..` or NUL, or is too long for a file system.
    """
    if not name:
        raise ImageError("a name is empty")
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise ImageError(f"the name {shown(name)!r} contains '..'")
    if b"\0" in name:
        raise ImageError(f"the name {shown(name)!r} contains a NUL byte")
    joined = b"/".join(parts)
    if len(joined) > _MOST_COMPONENT and (
        len(joined) > _MOST_PATH or max(map(len, parts)) > _MOST_COMPONENT
    ):
        raise ImageError(f"the name {shown(name)!r} is too long for a file system")
    return joined
