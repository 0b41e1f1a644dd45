"""Reading layers while their progress is watched."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nixdock.system.readers import ForwardReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from nixdock.read.members import Members
    from nixdock.read.stored_layer import StoredLayer
    from nixdock.system.file_range import Range

__all__ = ["CountedReader", "watched"]


def watched(layer: StoredLayer, advance: Callable[[int], object] | None) -> StoredLayer:
    """Return `layer`, but reading its blob tells `advance` the number of bytes so far.

    None means that nobody wants to know.
    """
    if advance is None:
        return layer
    return replace(layer, members=_WatchedMembers(layer.members, advance))


class _WatchedMembers:
    """The members of an image, of which each file that is opened tells how far it is read."""

    def __init__(self, members: Members, advance: Callable[[int], object]) -> None:
        self._members = members
        self._advance = advance

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def same(self, name: str) -> str:
        return self._members.same(name)

    def size(self, name: str) -> int:
        return self._members.size(name)

    def start(self, name: str) -> bytes:
        return self._members.start(name)

    def open(self, name: str) -> io.RawIOBase:
        return _WatchedReader(self._members.open(name), self._advance)

    def open_range(self, name: str) -> Range:
        return self._members.open_range(name)

    def close(self) -> None:
        self._members.close()


class _WatchedReader(ForwardReader):
    def __init__(self, stream: io.RawIOBase, advance: Callable[[int], object]) -> None:
        super().__init__(stream)
        self._advance = advance
        self._size = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = self._stream.readinto(buffer) or 0
        self._size += count
        self._advance(self._size)
        return count


class CountedReader(ForwardReader):
    """Pass on the bytes of a stream, and count them in `size`."""

    size = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        count = self._stream.readinto(buffer) or 0
        self.size += count
        return count
