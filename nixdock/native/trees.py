"""Streams of trees as tar members, by the native packer."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from enum import IntEnum
from types import TracebackType
from typing import Self

from nixdock.native.addresses import address_of
from nixdock.native.library import Place, native_library

__all__ = ["Fault", "TreeStream"]


class Fault(IntEnum):
    """The enum nixdock_fault of packer.h: why a stream ended before its end."""

    NONE = 0
    TREE = 1
    FILE = 2
    GREW = 3
    SHRANK = 4
    UNUSUAL = 5


class TreeStream:
    """The trees with `names` in an open directory, each with all below it, as tar members.

    A member's name is `prefix` with its path below the directory; its owner and time are those of
    `header`, a block. Raise MemoryError if there is no memory, and ToolError as `native_library`
    does; the library must be there.
    """

    def __init__(
        self, header: bytes, directory: int, prefix: bytes, names: Sequence[bytes]
    ) -> None:
        library = native_library()
        if library is None:
            raise AssertionError("the native packer is not there")
        self._library = library
        self._names = (ctypes.c_char_p * len(names))(*names)
        self._trees = library.nixdock_trees_open(header, directory, prefix, self._names, len(names))
        if not self._trees:
            raise MemoryError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._library.nixdock_trees_close(self._trees)
        self._trees = None

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer with the next bytes; return their number, which is less at the end.

        `place` tells whether that is the end of the stream.
        """
        data = address_of(buffer)
        count: int = self._library.nixdock_trees_read(self._trees, data, len(buffer))
        return count

    @property
    def place(self) -> Place:
        """Where the stream is; it must not be used after the stream is closed."""
        place: Place = self._library.nixdock_trees_place(self._trees)
        return place
