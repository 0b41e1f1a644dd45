"""Several ranges of a blob as one body, of the type multipart/byteranges (RFC 9110, 14.6)."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from nixdock.runtime.byte_range import Part
from nixdock.runtime.catalogue import ServedBlob
from nixdock.system.readers import ForwardReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["SeveralParts"]


@dataclass(frozen=True)
class SeveralParts:
    """The `parts` of `blob`, each after a head that names it; `boundary` is not in the blob."""

    blob: ServedBlob
    parts: Sequence[Part]
    boundary: str

    @property
    def media_type(self) -> str:
        """The media type of the body."""
        return f"multipart/byteranges; boundary={self.boundary}"

    @property
    def size(self) -> int:
        """The size in bytes."""
        return sum(map(_size, self._pieces))

    def open(self) -> io.RawIOBase:
        """Open the body for reading; the stream is seekable."""
        return _Pieces(self.blob.open(), self._pieces)

    @cached_property
    def _pieces(self) -> list[bytes | Part]:
        pieces: list[bytes | Part] = []
        for part in self.parts:
            last = part.start + part.size - 1
            pieces += [
                f"\r\n--{self.boundary}\r\nContent-Type: application/octet-stream\r\n"
                f"Content-Range: bytes {part.start}-{last}/{self.blob.size}\r\n\r\n".encode(),
                part,
            ]
        return [*pieces, f"\r\n--{self.boundary}--\r\n".encode()]


def _size(piece: bytes | Part) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.size


class _Pieces(ForwardReader):
    """Bytes in memory and parts of a stream, one after the other."""

    def __init__(self, stream: io.RawIOBase, pieces: Sequence[bytes | Part]) -> None:
        super().__init__(stream)
        self._pieces = pieces
        self._starts = [0, *accumulate(map(_size, pieces))]
        self._at = 0

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        if self._at >= self._starts[-1]:
            return 0
        number = bisect_right(self._starts, self._at) - 1
        piece, done = self._pieces[number], self._at - self._starts[number]
        view = memoryview(buffer).cast("B")[: _size(piece) - done]
        if isinstance(piece, bytes):
            view[:] = piece[done : done + len(view)]
            count = len(view)
        else:
            self._stream.seek(piece.start + done)
            count = self._stream.readinto(view) or 0
        self._at += count
        return count
