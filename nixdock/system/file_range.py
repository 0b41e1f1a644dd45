"""Parts of files as streams."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from nixdock.system.readers import ReadOnlyStream

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Range"]


class Range(ReadOnlyStream):
    """A read-only stream of `size` bytes of an open file, from `start`.

    Ranges may share a descriptor: they never move its position, and only the `owner` closes it.
    """

    def __init__(self, descriptor: int, start: int, size: int, *, owner: bool = False) -> None:
        super().__init__()
        self.size = size
        self._owner = owner
        self._descriptor = descriptor
        self._start = start
        self._at = 0

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Close the stream and, if it is the owner, the descriptor."""
        if self._owner and not self.closed:
            os.close(self._descriptor)
        super().close()

    def read_at(self, start: int, size: int) -> bytes:
        """Return at most `size` bytes from `start`, without moving the position."""
        left = max(0, self.size - start)
        return os.pread(self._descriptor, min(size, left), self._start + start)

    def part(self, start: int, size: int) -> Range:
        """Return `size` bytes of this range, from `start`, as another range."""
        return Range(self._descriptor, self._start + start, size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        view = memoryview(buffer)
        left = max(0, self.size - self._at)
        count = os.preadv(self._descriptor, [view[:left]], self._start + self._at)
        self._at += count
        return count
