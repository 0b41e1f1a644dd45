"""Base classes of read-only streams."""

from __future__ import annotations

import io
import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["BytesReader", "CopyReader", "DescriptorReader", "ForwardReader", "ReadOnlyStream"]


class ReadOnlyStream(io.RawIOBase):
    """A stream that can only be read; subclasses define `readinto`."""

    def readable(self) -> bool:
        """Return True."""
        return True


class BytesReader(ReadOnlyStream):
    """A stream of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._left = memoryview(data)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        view = memoryview(buffer)
        part = self._left[: len(view)]
        view[: len(part)] = part
        self._left = self._left[len(part) :]
        return len(part)


class ForwardReader(ReadOnlyStream):
    """A stream that reads from another one, and closes it."""

    def __init__(self, stream: io.RawIOBase | io.BufferedIOBase) -> None:
        super().__init__()
        self._stream = stream

    def close(self) -> None:
        """Close both streams."""
        if not self.closed:
            self._stream.close()
        super().close()


class CopyReader(ForwardReader):
    """Pass on the bytes of a stream, count them, and hand a copy to `write`."""

    def __init__(
        self, stream: io.RawIOBase | io.BufferedIOBase, write: Callable[[bytes], object]
    ) -> None:
        super().__init__(stream)
        self._write = write
        self.size = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        view = memoryview(buffer)
        count = self._stream.readinto(view) or 0
        if count:
            self.size += count
            # Copy: the caller may reuse its buffer as soon as this returns.
            self._write(bytes(view[:count]))
        return count


class DescriptorReader(ReadOnlyStream):
    """A stream that reads from an open descriptor, which may be non-blocking; it stays open."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Wait for the next bytes and read them."""
        while True:
            try:
                return os.readv(self._descriptor, [buffer])
            except BlockingIOError:
                ready = select.poll()
                ready.register(self._descriptor, select.POLLIN)
                ready.poll()
