"""NARs as tar members, by the native packer."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from nixdock.native.addresses import address_of
from nixdock.native.library import native_library

__all__ = ["NarStream"]

_BLOCK: Final = 512
_LONGEST: Final = 4095
_MOST_DIRECTORIES: Final = 128


class _Nar(ctypes.Structure):
    """The struct nixdock_nar of packer.h."""

    _fields_ = (
        ("read", ctypes.c_uint64),
        ("left", ctypes.c_uint64),
        ("padding", ctypes.c_uint32),
        ("at_entry", ctypes.c_uint32),
        ("depth", ctypes.c_uint32),
        ("directories", ctypes.c_uint32 * _MOST_DIRECTORIES),
        ("name_size", ctypes.c_uint32),
        ("name", ctypes.c_char * (_LONGEST + 1)),
        ("header", ctypes.c_uint8 * _BLOCK),
    )


class NarStream:
    """The members that the native packer makes of what is in a NAR, named after the root `top`.

    Their owner and time are those of `header`, a block. The library must be there.
    """

    def __init__(self, header: bytes, top: bytes) -> None:
        library = native_library()
        if library is None:
            raise AssertionError("the native packer is not there")
        self._read = library.nixdock_nar_read
        self._top = top
        self._nar = _Nar()
        self._nar.header[:] = header
        self._address = ctypes.addressof(self._nar)

    def go_on(
        self, directories: Sequence[tuple[bytes, bytes]], *, at_entry: bool, padding: int
    ) -> bool:
        """Go to a place in the NAR; return whether the native packer can go on from there.

        `directories` are the paths of those that are open, from the root down, each with the name
        of its last entry so far. `padding` is that of the last file, unless the NAR is behind it.
        """
        if not 0 < len(directories) <= _MOST_DIRECTORIES:
            return False
        path, last = directories[-1]
        name = b"/".join(filter(None, (self._top, path, last)))
        if len(name) > _LONGEST:
            return False
        nar = self._nar
        nar.name = name
        nar.name_size = len(name)
        nar.depth = len(directories)
        top = len(self._top)
        nar.directories[: len(directories)] = [
            top + 1 + len(path) if path else top for path, _ in directories
        ]
        nar.at_entry = at_entry
        nar.padding = padding
        return True

    def readinto(self, out: memoryview, data: memoryview) -> int:
        """Write members to `out` of what comes next in the NAR, `data`; return their size."""
        given, room = address_of(data), address_of(out)
        written: int = self._read(self._address, given, len(data), room, len(out))
        return written

    @property
    def read(self) -> int:
        """How many bytes of `data` were taken."""
        return int(self._nar.read)

    @property
    def left(self) -> int:
        """The size of the file whose contents are next in the NAR, or 0."""
        return int(self._nar.left)

    @property
    def at_entry(self) -> bool:
        """Whether an entry of the last directory is next, or its end."""
        return bool(self._nar.at_entry)

    @property
    def padding(self) -> int:
        """The padding of the last file, if the NAR is not behind it."""
        return int(self._nar.padding)

    @property
    def directories(self) -> list[tuple[bytes, bytes]]:
        """The paths of the open directories, each with the name of its last entry."""
        nar = self._nar
        name = nar.name[: nar.name_size]
        sizes = [*nar.directories[: nar.depth], nar.name_size]
        start = len(self._top) + 1
        return [(name[start:size], name[size + 1 : after]) for size, after in pairwise(sizes)]
