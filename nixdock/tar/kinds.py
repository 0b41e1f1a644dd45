"""The kinds of tar members."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["KIND_NAMES", "Kind"]


class Kind:
    """The ustar type flags of members (POSIX.1-2008, pax, "ustar Interchange Format")."""

    FILE: Final = b"0"
    HARD_LINK: Final = b"1"
    SYMLINK: Final = b"2"
    CHARACTER_DEVICE: Final = b"3"
    BLOCK_DEVICE: Final = b"4"
    DIRECTORY: Final = b"5"
    FIFO: Final = b"6"
    PAX: Final = b"x"


KIND_NAMES: Final[Mapping[bytes, str]] = MappingProxyType(
    {
        Kind.FILE: "file",
        Kind.HARD_LINK: "hard link",
        Kind.SYMLINK: "symbolic link",
        Kind.CHARACTER_DEVICE: "character device",
        Kind.BLOCK_DEVICE: "block device",
        Kind.DIRECTORY: "directory",
        Kind.FIFO: "FIFO",
    }
)
"""The names of the kinds in messages."""
