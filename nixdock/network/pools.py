"""What connections do otherwise than those of urllib3, about answers that are early or endless."""

from __future__ import annotations

import http.client
import io
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from nixdock.network.answers import TooSlowError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from urllib3 import BaseHTTPResponse, HTTPResponse

__all__ = ["POOLS", "Answer", "Watch", "watch_of"]

# What OpenSSL says where the system says EPIPE: the other side has closed the connection.
_CLOSED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionAbortedError)
_WATCH: Final = "nixdock_watch"


class Watch:
    """How long a step of an answer takes, which is its head, or the next piece of its body.

    When something of a step has come, all of it must come within `limit` seconds by the clock
    `now`. Else a server could keep a client for ever with headers, with answers that are not yet
    the final one, and with what stands between and behind the pieces of a body.
    """

    def __init__(self, limit: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._now = now
        self._since: float | None = None

    def begin(self) -> None:
        """Begin the next step."""
        self._since = None

    def came(self) -> None:
        """Say that something came; raise TooSlowError if the step takes too long."""
        now = self._now()
        if self._since is None:
            self._since = now
        elif now - self._since > self._limit:
            raise TooSlowError


class _Watched(io.RawIOBase):
    """The bytes that a connection gets, as they come."""

    def __init__(self, inner: io.RawIOBase, watch: Watch) -> None:
        super().__init__()
        self._inner = inner
        self._watch = watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        count = self._inner.readinto(buffer)
        self._watch.came()
        return count

    def close(self) -> None:
        self._inner.close()
        super().close()


class Answer(http.client.HTTPResponse):
    """An answer whose steps are watched."""

    def __init__(self, watch: Watch, sock: Any, **settings: Any) -> None:
        super().__init__(sock, **settings)
        self.fp: Any = io.BufferedReader(_Watched(self.fp.detach(), watch))


class _Watching(HTTPConnection):
    """A connection whose answers are watched, also those of a proxy that is to connect."""

    def response_class(self, sock: Any, **settings: Any) -> Answer:  # type: ignore[override]
        self._watch = Watch(float(self.timeout or 0.0))
        return Answer(self._watch, sock, **settings)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        response = super().getresponse()
        setattr(response, _WATCH, self._watch)
        return response


def watch_of(response: BaseHTTPResponse) -> Watch:
    """Return what watches an answer that has come by a connection of these."""
    found = getattr(response, _WATCH)
    assert isinstance(found, Watch)
    return found


class _Secure(_Watching, HTTPSConnection):
    """A connection of which the answer is read although its server reads no more.

    A server that refuses an upload answers, and closes the connection, before all has come.
    """

    def send(self, data: Any) -> None:
        is_open = self.sock is not None
        try:
            super().send(data)
        except _CLOSED as error:
            if not is_open:
                # The handshake has failed.
                raise
            # For this error, urllib3 looks whether an answer has come before.
            raise BrokenPipeError from error


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Watching


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


POOLS: Final = {"http": _PlainPool, "https": _SecurePool}
"""The classes of connections by their scheme, for urllib3."""
