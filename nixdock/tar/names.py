"""Names of members, normalised: the same file has the same name, and none leads outside."""

from __future__ import annotations

from typing import Final

from nixdock.errors import ImageError
from nixdock.system.text import shown

__all__ = ["normalised"]

# What Linux can unpack: PATH_MAX with its final NUL, and NAME_MAX, in bytes.
_MOST_PATH: Final = 4095
_MOST_COMPONENT: Final = 255
# Far more than any program nests; work and memory grow with the square of the depth.
_MOST_DEPTH: Final = 256


def normalised(name: bytes) -> bytes:
    """Return `name` without leading, trailing and doubled slashes and `.`; the root is empty.

    Raise ImageError for an empty name, `..`, NUL, and what is too long for a file system
    or nested more than 256 deep.
    """
    if not name:
        raise ImageError("a name is empty")
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise ImageError(f"the name {shown(name)!r} leads upwards")
    if b"\0" in name:
        raise ImageError(f"the name {shown(name)!r} holds a NUL")
    if len(name) > _MOST_COMPONENT and (
        len(name) > _MOST_PATH or max(map(len, parts)) > _MOST_COMPONENT
    ):
        raise ImageError(f"the name {shown(name)!r} is too long for a file system")
    if len(parts) > _MOST_DEPTH:
        raise ImageError(f"the name {shown(name)!r} is nested more than {_MOST_DEPTH} deep")
    return b"/".join(parts)
