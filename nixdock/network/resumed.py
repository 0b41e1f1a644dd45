"""Reading a body that a server sends, and going on where a transfer breaks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from nixdock.errors import RemoteError
from nixdock.system.readers import ReadOnlyStream

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from nixdock.network.answers import Response
    from nixdock.network.retrying import Patience

__all__ = ["CONTENT_RANGE", "MUCH", "ResumedReader"]

Taken = TypeVar("Taken")

CONTENT_RANGE: Final = re.compile(r"(?:bytes )?([0-9]{1,18})-([0-9]{1,18})(?:/.*)?", re.ASCII)
"""A range of bytes in a header, as servers write it."""

MUCH: Final = 1 << 16
"""How many bytes make up for a break: who breaks after every few must not be asked for ever."""

_WHOLE: Final = re.compile(r"/([0-9]{1,18})\s*$", re.ASCII)
_SKIPPED: Final = 1 << 20


class ResumedReader(ReadOnlyStream):
    """The bytes of a body from `at` on, unverified.

    `ask` sends the request for the bytes from a position on. The answer may have all bytes, or with
    the status 206 these or only the first of them, or the status 416 if there are none. When a
    transfer breaks, it goes on where it stopped, as long as there is patience: the same for all
    breaks and requests until many bytes have come, and then anew. `lacking` returns the error that
    a server does not send the bytes from a position on.
    """

    def __init__(
        self,
        ask: Callable[[int, Patience], Response],
        patience: Callable[[], Patience],
        lacking: Callable[[int], RemoteError],
        *,
        at: int = 0,
        response: Response | None = None,
    ) -> None:
        super().__init__()
        self.at = at
        self._ask = ask
        self._new_patience = patience
        self._lacking = lacking
        self._response = response
        self._began = at
        self._is_end = False
        self._patience = patience()
        self._has_broken = False
        self._gained = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes; raise the error of the last attempt if the server fails again."""
        view = memoryview(buffer).cast("B")
        return (self._taken(lambda response: response.readinto(view), int) if view else 0) or 0

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` of the next bytes, none at the end; raise as `readinto` does."""
        if size < 0:
            return self.readall()
        return (self._taken(lambda response: response.read(size), len) if size else b"") or b""

    def move(self, at: int) -> None:
        """Let the byte at this position be the next one."""
        if at != self.at:
            self._end()
            self.at = at

    def close(self) -> None:
        """End the transfer; a connection whose body was read is kept."""
        self._end()
        super().close()

    def _taken(
        self, take: Callable[[Response], Taken], size_of: Callable[[Taken], int]
    ) -> Taken | None:
        """Return the next bytes that `take` takes, how many `size_of` says; None at the end."""
        while True:
            try:
                if self._response is None:
                    self._response = self._open()
                taken = None if self._is_end else take(self._response)
                if taken is not None and (size := size_of(taken)):
                    self._gained += size
                    self.at += size
                    return taken
                if self._is_end or not _has_more(self._response, self.at):
                    return None
                # The server sends less at once than it was asked for.
                self._end()
                if self.at == self._began:
                    raise self._lacking(self.at)
            except RemoteError as error:
                self._end()
                if self._gained >= MUCH:
                    self._patience, self._has_broken = self._new_patience(), False
                self._gained = 0
                # At first, it is only the connection that broke.
                at_once, self._has_broken = not self._has_broken, True
                if not (error.is_broken and self._patience.lasts(error.after, at_once=at_once)):
                    raise

    def _open(self) -> Response:
        response = self._ask(self.at, self._patience)
        self._began = self.at
        try:
            if response.status == 416 and _size(response) == self.at:
                # All bytes had come before, and only the end of the answer had not.
                self._is_end = True
                return response
            first = _first_of(response) if response.status == 206 else 0
            if response.status == 416 or first > self.at or not _skip(response, self.at - first):
                raise self._lacking(self.at)
        except RemoteError:
            response.close()
            raise
        return response

    def _end(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
        self._is_end = False


def _first_of(response: Response) -> int:
    match = CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return int(match[1]) if match else 0


def _size(response: Response) -> int | None:
    """Return the size of the whole body, if an answer with a part of it, or none, states that."""
    match = _WHOLE.search(response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _has_more(response: Response, at: int) -> bool:
    """Tell whether there are bytes from a position on, behind all that an answer has."""
    size = _size(response) if response.status == 206 else None
    return size is not None and at < size


def _skip(response: Response, size: int) -> bool:
    """Read what has come before, if the server ignores ranges; tell whether it is there."""
    buffer = memoryview(bytearray(min(size, _SKIPPED)))
    while size and (count := response.readinto(buffer[:size])):
        size -= count
    return not size
