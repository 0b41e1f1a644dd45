"""Connections of the server: what waitress would wait for, although nothing will come."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
import time
from contextlib import suppress
from typing import Any, Final

from waitress.channel import HTTPChannel
from waitress.task import ErrorTask

from nixdock.runtime.replies import error_document

__all__ = ["Channel", "close_silent"]

PATIENCE: Final = 60
"""How long a client may be silent, read nothing, or take to send a request, in seconds."""

_PATIENCE_WITHOUT_ROOM: Final = 5
_TLS_HANDSHAKE: Final = 0x16
# Clients fall back to plain HTTP if this is the answer to HTTPS: it is that of Go's servers.
_IS_HTTP: Final = (
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n"
)
_MOST_READ: Final = 1 << 18
_CODES: Final = {413: "TOO_LARGE", 431: "TOO_LARGE", 500: "UNKNOWN", 501: "UNSUPPORTED"}


class _Refusal(ErrorTask):  # type: ignore[misc]
    """The answer to a request that is not HTTP, or too large: an error as registries have it."""

    def execute(self) -> None:
        """Send it."""
        error = self.request.error
        body = error_document(_CODES.get(error.code, "MALFORMED"), str(error.body))
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that ends at once if the client speaks TLS, and soon if it is too slow.

    Docker and Podman try HTTPS first, and would wait for an answer for ten seconds. If there are
    `most_channels` of the server, one that asks for nothing makes room for a new one.
    """

    error_task_class = _Refusal
    sendbuf_len: int
    is_postponed = False
    """Whether a request waits until the client has taken the answer to the one before."""

    last_taken = 0.0
    """When the client was last seen to take something of what the kernel had to send."""

    _began: float | None = None
    _queued = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # It would read as much at once as the kernel might take, for each client.
        self.sendbuf_len = min(self.sendbuf_len, _MOST_READ)

    def add_channel(self, map: dict[int, Any] | None = None) -> None:  # noqa: A002 (its name there)
        """Let the server watch this connection, and none that only keeps others out."""
        super().add_channel(map)
        others = [each for each in self.server.active_channels.values() if each is not self]
        most = self.server.most_channels
        if len(others) >= most and (waiting := [*filter(_asks_for_nothing, others)]):
            min(waiting, key=lambda channel: channel.creation_time).handle_close()

    def received(self, data: bytes) -> bool:
        """Take what the client sends."""
        if self.request is None and data and data[0] == _TLS_HANDSHAKE:
            with suppress(OSError):
                self.send(_IS_HTTP, do_close=False)
            self.handle_close()
            return False
        now = time.monotonic()
        if self._began is not None and now - self._began > PATIENCE:
            self.handle_close()
            return False
        complete: bool = super().received(data)
        if self.request is None:
            self._began = None
        elif self._began is None:
            self._began = now
        return complete

    def note_what_is_taken(self, now: float) -> None:
        """Note the time if the client has taken something that the kernel had at the last call.

        The kernel asks for more only when a third of its megabytes is gone: to somebody who reads
        slowly, nothing is sent for longer than clients may read nothing.
        """
        before, self._queued = self._queued, _bytes_in_kernel(self.socket)
        if self._queued < before:
            self.last_taken = now

    def service(self) -> None:
        """Execute a request, but none while the client has to read: a thread would wait for it."""
        with self.outbuf_lock:
            self.is_postponed = bool(self.connected and self.total_outbufs_len)
        if not self.is_postponed:
            super().service()

    def handle_write(self) -> None:
        """Send what the client takes, and then execute the request that waited for that."""
        super().handle_write()
        with self.outbuf_lock:
            resumes = self.is_postponed and not self.total_outbufs_len
            self.is_postponed = self.is_postponed and not resumes
        if resumes:
            self.server.add_task(self)

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Do nothing, where waitress waits: there is only one answer at a time, mostly a file."""

    def send_continue(self) -> None:
        """Tell the client to send the body that it has announced, unless there is none.

        By itself, waitress would wait for one, and take the next request for a part of this one.
        """
        if not self.request.completed:
            super().send_continue()


def close_silent(server: Any, now: float) -> None:
    """Close the connections of clients that are silent for too long: sooner if there is no room.

    By itself, waitress would wait for those that read nothing until they read.
    """
    is_full = len(server.active_channels) >= server.most_channels
    oldest = now - (_PATIENCE_WITHOUT_ROOM if is_full else PATIENCE)
    for channel in server.active_channels.values():
        channel.note_what_is_taken(now)
        last = channel.last_activity if is_full else max(channel.last_activity, channel.last_taken)
        is_quiet = channel.is_postponed or not channel.requests
        if is_quiet and last < oldest:
            # Its descriptor is being polled, so it must not be that of a new connection yet.
            channel.will_close = True
            with suppress(OSError):
                channel.socket.shutdown(socket.SHUT_RDWR)


def _bytes_in_kernel(connection: socket.socket) -> int:
    """Return how much of what was sent the client's system has not got, or 0 if nobody knows."""
    try:
        found = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(found, sys.byteorder)


def _asks_for_nothing(channel: Channel) -> bool:
    """Tell whether a client has not sent a request, or only a part of it."""
    return not (channel.requests or channel.total_outbufs_len or channel.will_close)
