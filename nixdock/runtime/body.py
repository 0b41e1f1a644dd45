"""The bodies of answers: parts of streams, which servers can send as files."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from nixdock.runtime.byte_range import Part
from nixdock.system.readers import ForwardReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["AnswerBody", "Chunks"]


class AnswerBody(ForwardReader):
    """The bytes of an answer: a part of a stream, which is seekable, as a file of its own."""

    def __init__(self, stream: io.RawIOBase, part: Part, closed: Callable[[], None]) -> None:
        super().__init__(stream)
        self._part = part
        self._at = 0
        self._on_close = closed

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the position, from which the stream is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._part.size}[whence]
        self._at = max(0, base + offset)
        self._stream.seek(self._part.start + self._at)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        view = memoryview(buffer).cast("B")[: max(0, self._part.size - self._at)]
        # Both kinds of streams have `readinto`, but their common base class does not.
        count: int = self._stream.readinto(view) or 0 if view else 0
        self._at += count
        return count

    def close(self) -> None:
        """Close the stream, and tell that the answer has ended."""
        if not self.closed:
            self._on_close()
        super().close()


class Chunks:
    """The bytes of a body, for servers that have no wrapper of their own."""

    def __init__(self, body: AnswerBody, size: int) -> None:
        self._body = body
        self._size = size

    def __iter__(self) -> Chunks:
        return self

    def __next__(self) -> bytes:
        if chunk := self._body.read(self._size):
            return chunk
        raise StopIteration

    def close(self) -> None:
        """Close the body."""
        self._body.close()
