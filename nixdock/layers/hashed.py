"""Streams that hash the bytes read through them, and streams that verify them."""

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
    """Pass on the bytes of `stream`, and count and hash them."""

    def __init__(self, stream: io.RawIOBase | io.BufferedIOBase) -> None:
        super().__init__(stream)
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        """The digest of the bytes read so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        view = memoryview(buffer)
        count = self._stream.readinto(view) or 0
        self._hash.update(view[:count])
        self.size += count
        return count


class VerifiedReader(HashedReader):
    """Pass on the bytes of `stream`; raise ImageError if their digest or number is wrong.

    With a size, the error is raised before the last bytes are returned. Without one, it is raised
    when the end of the stream is read: do not use any byte before then. `place` says where the
    bytes are, in an image at `path` if there is one; with `uncompressed`, they are those of the
    blob there after decompression.
    """

    def __init__(
        self,
        stream: io.RawIOBase | io.BufferedIOBase,
        place: str,
        digest: str,
        size: int | None,
        *,
        path: str | None = None,
        uncompressed: bool = False,
    ) -> None:
        super().__init__(stream)
        self._place = place
        self._path = path
        before = f"{path}: " if path else ""
        self._subject = f"{before}{place}, uncompressed," if uncompressed else f"{before}{place}"
        self._expected_digest = digest
        self._expected_size = size

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        if not memoryview(buffer):
            return 0
        count = super().readinto(buffer)
        size = self._expected_size
        if size is not None and self.size > size:
            raise self._surplus(size)
        if not count or self.size == size:
            self._check()
        return count

    def _check(self) -> None:
        size = self._expected_size
        if size is not None and self.size != size:
            raise ImageError(
                f"{self._subject} has {self.size} bytes, but should have {size}",
                path=self._path,
                place=self._place,
                digest=self.digest,
            )
        if self.digest != self._expected_digest:
            raise ImageError(
                f"{self._subject} is damaged: its digest is {self.digest}, not"
                f" {self._expected_digest}",
                path=self._path,
                place=self._place,
                digest=self.digest,
            )
        if size is not None and self._stream.read(1):
            raise self._surplus(size)

    def _surplus(self, size: int) -> ImageError:
        return ImageError(
            f"{self._subject} has more than the {size} bytes that it should have",
            path=self._path,
            place=self._place,
        )


def buffered(stream: io.RawIOBase) -> io.BufferedReader:
    """Return `stream` with a buffer of CHUNK bytes, for readers of small pieces."""
    return io.BufferedReader(stream, CHUNK)


def drain(stream: io.RawIOBase | io.BufferedReader) -> None:
    """Read `stream` to its end and discard the bytes."""
    buffer = bytearray(CHUNK)
    while stream.readinto(buffer):
        pass
