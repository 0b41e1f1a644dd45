"""Buffered input for reading tars."""

from __future__ import annotations

import io
from typing import BinaryIO, Final

__all__ = ["BufferedInput"]

_CHUNK: Final = 1 << 20
# Between the headers of a seekable stream are files that are skipped: read little in advance.
_SEEKABLE_CHUNK: Final = 1 << 14


class BufferedInput:
    """Read small pieces of a stream, and skip files by seeking where the stream allows it.

    `position` is the number of bytes that were read or skipped.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self.position = 0
        self._end: int | None = None
        if stream.seekable():
            self._start = stream.tell()
            self._end = stream.seek(0, io.SEEK_END) - self._start
            stream.seek(self._start)

    @property
    def end(self) -> int:
        """The size of the stream in bytes, once its end was reached."""
        return self.position if self._end is None else self._end

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, or fewer at the end of the stream."""
        end = self._at + size
        if end > len(self._buffer):
            self._refill(size)
            end = self._at + size
        data = self._buffer[self._at : end]
        self._at += len(data)
        self.position += len(data)
        return data

    def read_chunk(self) -> bytes:
        """Return many of the next bytes, none at the end of the stream."""
        return self.read(_CHUNK)

    def skip(self, size: int) -> bool:
        """Skip `size` bytes; return False if the stream has fewer."""
        at = self._at + size
        if at <= len(self._buffer):
            self._at = at
            self.position += size
            return True
        if self._end is None:
            return self._skip_by_reading(size)
        self.position += size
        self._buffer, self._at = b"", 0
        if self.position > self._end:
            return False
        self._stream.seek(self._start + self.position)
        return True

    def _skip_by_reading(self, size: int) -> bool:
        left = size
        while (ready := len(self._buffer) - self._at) < left:
            left -= ready
            self.position += ready
            self._buffer, self._at = self._stream.read(_CHUNK), 0
            if not self._buffer:
                return False
        self._at += left
        self.position += left
        return True

    def _refill(self, size: int) -> None:
        """Fill the buffer with the next `size` bytes and more, or with all that are left."""
        pieces = [self._buffer[self._at :]]
        missing = size - len(pieces[0])
        least = _CHUNK if self._end is None else _SEEKABLE_CHUNK
        while missing > 0 and (piece := self._stream.read(max(missing, least))):
            pieces.append(piece)
            missing -= len(piece)
        self._buffer, self._at = b"".join(pieces), 0
