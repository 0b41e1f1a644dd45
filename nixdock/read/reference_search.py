"""Searching the files of a layer for the names of store paths, while it is read.

Nix finds the references of a store path in the same way when it is built: by the hashes of others
in its files and in the targets of its symlinks. Here, a hash counts if it stands in a name, between
a slash and a dash; that is how programs write paths of other store objects, and it is found at the
speed at which memory is read.
"""

from __future__ import annotations

import io
import re
from collections import deque
from typing import TYPE_CHECKING, Final

from nixdock.system.readers import ForwardReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["SearchedReader", "hashes_in"]

_NAME: Final = re.compile(rb"/([0-9a-df-np-sv-z]{32})-")
_LENGTH: Final = 34
# Repetitions within a block of the tar tell nothing new: each block is of one file, or of a header.
_BLOCK: Final = 9
# What is pending are the names in one file. Whoever has so many of them wants to fill the memory.
_MOST_PENDING: Final = 1_000_000


def hashes_in(data: bytes) -> frozenset[bytes]:
    """Return the hashes in the names of store paths in `data`."""
    return frozenset(_NAME.findall(data))


class SearchedReader(ForwardReader):
    """Pass on the bytes of a tar, count them in `size`, and note the names of store paths.

    `has_given_up` says that there were too many in a file, so that no more are noted.
    """

    def __init__(self, stream: io.RawIOBase | io.BufferedIOBase) -> None:
        super().__init__(stream)
        self.size = 0
        self.has_given_up = False
        self._end = b""
        self._pending: deque[tuple[int, bytes]] = deque()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        view = memoryview(buffer)
        count = self._stream.readinto(view) or 0
        if not self.has_given_up:
            data = view[:count]
            # A name may begin in the last bytes of what was read before, which can't hold a whole
            # one. All else is searched where it is: copying takes longer than searching.
            seam = self._end + bytes(data[: _LENGTH - 1])
            self._note(seam, self.size - len(self._end))
            self._note(data, self.size)
            self._end = (seam if count < _LENGTH else bytes(data[1 - _LENGTH :]))[1 - _LENGTH :]
        self.size += count
        return count

    def found_before(self, start: int, end: int) -> set[bytes]:
        """Return the hashes in the bytes from `start` to `end`, and forget all before `end`.

        The stream must have been read up to `end`; later calls have a later `start`.
        """
        pending = self._pending
        found = set()
        while pending and pending[0][0] < end:
            offset, name = pending.popleft()
            if offset >= start:
                found.add(name)
        return found

    def _note(self, data: bytes | memoryview, start: int) -> None:
        pending = self._pending
        last = (-1, b"")
        for match in _NAME.finditer(data):
            offset = start + match.start()
            key = (offset >> _BLOCK, match[1])
            if key != last:
                pending.append((offset, match[1]))
                last = key
        if len(pending) > _MOST_PENDING:
            self.has_given_up = True
            pending.clear()
