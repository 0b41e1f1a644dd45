"""Streams that hash what is read through them, and streams that let only the right bytes pass."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Final

from nixdock.errors import ImageError
from nixdock.system.readers import ForwardReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["CHUNK", "HashedReader", "VerifiedReader", "buffered", "drain"]

CHUNK: Final = 1 << 20


class HashedReader(ForwardReader):
    """Pass on what `stream` holds, and count and hash it."""

    def __init__(self, stream: io.RawIOBase) -> None:
        super().__init__(stream)
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        """The digest of what was read so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        view = memoryview(buffer)
        count = self._stream.readinto(view) or 0
        self._hash.update(view[:count])
        self.size += count
        return count


class VerifiedReader(HashedReader):
    """Raise ImageError when the bytes are not those of `digest`, or not `size` of them.

    With a size, the last bytes are handed out only when all are right; without one, reading the
    end of the stream raises, so that nothing may be used before.
    """

    def __init__(self, stream: io.RawIOBase, what: str, digest: str, size: int | None) -> None:
        super().__init__(stream)
        self._what = what
        self._expected = digest
        self._expected_size = size

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        if not memoryview(buffer):
            return 0
        count = super().readinto(buffer)
        size = self._expected_size
        if size is not None and self.size > size:
            raise ImageError(f"{self._what} has more than the {size} bytes that it should have")
        if not count or self.size == size:
            self._check()
        return count

    def _check(self) -> None:
        size = self._expected_size
        if size is not None and self.size != size:
            raise ImageError(f"{self._what} has {self.size} bytes, but should have {size}")
        if self.digest != self._expected:
            raise ImageError(
                f"{self._what} is damaged: its digest is {self.digest}, not {self._expected}"
            )
        if size is not None and self._stream.read(1):
            raise ImageError(f"{self._what} has more than the {size} bytes that it should have")


def buffered(stream: io.RawIOBase) -> io.BufferedReader:
    """Return `stream` with a buffer, for readers that take a few bytes at a time."""
    return io.BufferedReader(stream, CHUNK)


def drain(stream: io.RawIOBase | io.BufferedReader) -> None:
    """Read all that is left."""
    buffer = bytearray(CHUNK)
    while stream.readinto(buffer):
        pass
