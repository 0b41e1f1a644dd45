"""What a request sends."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from nixdock.errors import NixdockError

__all__ = ["Body", "ContentError"]

_CHUNK: Final = 1 << 20


class ContentError(Exception):
    """What is to be sent can't be read; `error` says why.

    It is no error of whom it is sent to, although it may be one of the same class.
    """

    def __init__(self, error: NixdockError) -> None:
        super().__init__(str(error))
        self.error = error


class Body(Struct, frozen=True):
    """What a request sends: `size` bytes, which `open` opens anew for each attempt."""

    size: int
    open: Callable[[], io.RawIOBase | io.BufferedIOBase]

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Return the body with these bytes."""
        return cls(len(data), lambda: io.BytesIO(data))

    def rest(self, start: int) -> Body:
        """Return the bytes from `start` on."""

        def open_rest() -> io.RawIOBase | io.BufferedIOBase:
            stream = self.open()
            if stream.seekable():
                stream.seek(start)
            else:
                skipped = 0
                while skipped < start and (more := stream.read(min(_CHUNK, start - skipped))):
                    skipped += len(more)
            return stream

        return Body(self.size - start, open_rest)
