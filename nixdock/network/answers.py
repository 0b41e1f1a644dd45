"""Answers of a server, as they come."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from nixdock.network.redirects import UnsafeTargetError, joined
from nixdock.network.subject import Subject

if TYPE_CHECKING:
    import urllib3

__all__ = ["Flow", "Response", "TooSlowError"]

_DRAINED: Final = 1 << 16
_LARGEST_READ: Final = 1 << 20
# In bytes per second: a server that only drips must not keep a client for ever.
_SLOWEST: Final = 256


class TooSlowError(Exception):
    """Too few bytes have come in too long a time."""


class Flow:
    """How fast bytes come: at least 256 in a second, on the average of `window` seconds.

    Only the time of waiting for them counts, by the clock `now`, not that of using them.
    """

    def __init__(self, window: float, now: Callable[[], float] = time.monotonic) -> None:
        self._window = window
        self._now = now
        self._waited = 0.0
        self._came = 0

    def wait(self, read: Callable[[], bytes]) -> bytes:
        """Return what `read` returns; raise TooSlowError if there was too little for too long."""
        begin = self._now()
        data = read()
        self._waited += self._now() - begin
        self._came += len(data)
        if self._waited >= self._window:
            if data and self._came < _SLOWEST * self._waited:
                raise TooSlowError
            self._waited, self._came = 0.0, 0
        return data


class Response:
    """An answer whose body has not been read; use it as a context manager.

    `url` is what answered, after redirects, for locations that are relative to it.
    """

    def __init__(
        self,
        raw: urllib3.BaseHTTPResponse,
        url: str,
        subject: Subject,
        broken: Callable[[Exception], Exception],
        flow: Flow,
        begin_piece: Callable[[], None],
    ) -> None:
        self._raw = raw
        self._subject = subject
        self._broken = broken
        self._flow = flow
        self._begin_piece = begin_piece
        self._error: Exception | None = None
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back if the body was read or is nearly empty, else close it."""
        raw = self._raw
        left = getattr(raw, "length_remaining", None)
        if not raw.closed and left is not None and left <= _DRAINED:
            # Nobody waits for these bytes: errors do not matter.
            with suppress(Exception):
                buffer = memoryview(bytearray(_DRAINED))
                while self.readinto(buffer):
                    pass
        # Nothing happens to a connection that urllib3 has taken back at the end of the body.
        raw.close()
        raw.release_conn()

    def readinto(self, buffer: Any, /) -> int:
        """Read the next bytes of the body; return 0 at its end.

        Raise a RemoteError with `is_broken` if the connection breaks, or is silent for too long.
        """
        view = memoryview(buffer).cast("B")
        count = 0
        for data in self._pieces(len(view)):
            view[count : count + len(data)] = data
            count += len(data)
        return count

    def read(self, most: int, /) -> bytes:
        """Return the next bytes of the body, at most so many, none at its end; raise the same."""
        return b"".join(self._pieces(most))

    def _pieces(self, most: int) -> Iterator[bytes]:
        """Yield what comes; after some bytes, an error is not raised before the next call."""
        left = most = min(most, _LARGEST_READ)
        try:
            while left and (data := self._piece(left)):
                left -= len(data)
                yield data
        except Exception as error:
            self._error = error
            if left == most:
                raise self._broken(error) from None

    def _piece(self, most: int) -> bytes:
        """Return what comes at once, so that it is noticed if that is ever so little."""
        if self._error is not None:
            raise self._error
        self._begin_piece()
        data = self._flow.wait(lambda: self._raw.read1(most, decode_content=False))
        if len(data) > most:
            # A piece of negative size, for example, of which all that has come is read.
            raise ConnectionAbortedError(errno.ECONNABORTED, "the answer is malformed")
        return data

    def linked(self, location: str) -> str:
        """Return the URL that the answer gives; raise a RemoteError if it is none."""
        try:
            return joined(self.url, location)
        except UnsafeTargetError as error:
            message = f"{self._subject.server}'s word is not followed: {error}"
            raise self._subject.error(message) from None

    def whole(self, most: int) -> bytes:
        """Return the whole body; raise a RemoteError if it has more than `most` bytes."""
        data = self.start(most + 1)
        if len(data) > most:
            message = f"{self._subject.server}'s answer has more than {most} bytes"
            raise self._subject.error(message, status=self.status)
        return data

    def start(self, most: int) -> bytes:
        """Return the first bytes of the body, at most so many; raise the same."""
        data = bytearray()
        try:
            while left := most - len(data):
                piece = self._piece(min(left, _LARGEST_READ))
                if not piece:
                    break
                data += piece
        except Exception as error:
            raise self._broken(error) from None
        return bytes(data)
