"""The bodies of answers: parts of streams, which servers can send as files."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from nixdock.errors import ImageError, NixdockError
from nixdock.runtime.byte_range import Part
from nixdock.runtime.catalogue import ServedBlob
from nixdock.system.readers import ForwardReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["AnswerBody", "Chunks", "Failed", "open_part"]

Failed = Callable[[str, Exception], object]
"""Takes the digest of a blob and the error because of which it can't be served."""


def open_part(blob: ServedBlob, part: Part, digest: str) -> io.RawIOBase:
    """Open a blob at the start of a part; raise ImageError if the end of the part is not there."""
    stream = blob.open()
    if part.size:
        stream.seek(part.start + part.size - 1)
        if not stream.read(1):
            stream.close()
            raise _cut_off(digest)
    stream.seek(part.start)
    return stream


def _cut_off(digest: str) -> ImageError:
    return ImageError(
        f"the blob {digest} is cut off: its file has become shorter since it was opened; start"
        " again with the whole file",
        digest=digest,
    )


class AnswerBody(ForwardReader):
    """The bytes of an answer: a part of a stream, which is seekable, as a file of its own.

    If the stream can't be read to the end of the part, `failed` is told once, and reading raises
    OSError, after which a server closes the connection: its client would wait for the rest.
    """

    def __init__(
        self,
        stream: io.RawIOBase,
        part: Part,
        digest: str,
        *,
        closed: Callable[[], None],
        failed: Failed,
    ) -> None:
        super().__init__(stream)
        self._part = part
        self._digest = digest
        self._at = 0
        self._has_failed = False
        self._on_close = closed
        self._on_failure = failed

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
        """Read the next bytes; raise OSError if they are not there."""
        view = memoryview(buffer).cast("B")[: max(0, self._part.size - self._at)]
        if not view:
            return 0
        try:
            # Both kinds of streams have `readinto`, but their common base class does not.
            count: int = self._stream.readinto(view) or 0
        except (NixdockError, OSError) as error:
            self._fail(error)
        if not count:
            self._fail(_cut_off(self._digest))
        self._at += count
        return count

    def _fail(self, error: Exception) -> NoReturn:
        # A server may read again before it closes the connection.
        if not self._has_failed:
            self._has_failed = True
            self._on_failure(self._digest, error)
        raise OSError(errno.EIO, "the rest of the body can't be read") from error

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
