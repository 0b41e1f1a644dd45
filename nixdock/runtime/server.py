"""Serving an application over HTTP in threads, with waitress."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from nixdock.runtime.connections import channels_before_room, most_connections
from nixdock.runtime.gate import Gate
from nixdock.runtime.listen_address import LOOPBACK, Address, listener
from nixdock.runtime.waiting import MOST_WAITING

if TYPE_CHECKING:
    import ssl

    from _typeshed.wsgi import WSGIApplication

__all__ = ["listening"]

# Each client that waits for a blob to be packed takes a thread, but none that receives one. Those
# that wait for an image to be settled leave the others enough.
_THREADS: Final = 16 + MOST_WAITING
# A socket, and the file of a blob; behind TLS, a pair of sockets more.
_DESCRIPTORS: Final = 2
_DESCRIPTORS_WITH_TLS: Final = 4
# What waitress counts as connections: where it listens, and what wakes it up.
_NO_CONNECTIONS: Final = 2
_MOST_HEADERS: Final = 16 << 10
_MOST_BODY: Final = 64 << 10
_SECONDS_TO_END: Final = 2
_SECONDS_BETWEEN_CLEANUPS: Final = 5


@contextmanager
def listening(
    app: WSGIApplication,
    address: Address = LOOPBACK,
    tls: ssl.SSLContext | None = None,
    gate: Gate | None = None,
) -> Iterator[Address]:
    """Serve `app` until the block ends; yield the address with the port that was chosen.

    With `tls`, clients must speak HTTPS; with `gate`, requests go through it. Connections that are
    open in the end are closed. Raise InputError if the address can't be used.
    """
    from waitress.server import create_server  # noqa: PLC0415 (only servers need it)

    from nixdock.runtime.channel import Channel, close_silent  # noqa: PLC0415

    # It reports every client that goes away.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    with ExitStack() as stack:
        listens, actual = stack.enter_context(listener(address))
        # Behind TLS, the server has connections handed over, and accepts none.
        own = listens if tls is None else stack.enter_context(socket.socket(socket.AF_UNIX))
        most = most_connections(_DESCRIPTORS if tls is None else _DESCRIPTORS_WITH_TLS)
        channels: dict[int, Any] = {}
        server: Any = create_server(
            app if gate is None else gate.before(app),
            map=channels,
            sockets=[own],
            _start=tls is None,
            threads=_THREADS,
            ident=None,
            connection_limit=most + _NO_CONNECTIONS,
            # The application has said which file can't be read, and clients may go away.
            log_socket_errors=False,
            cleanup_interval=_SECONDS_BETWEEN_CLEANUPS,
            max_request_header_size=_MOST_HEADERS,
            max_request_body_size=_MOST_BODY,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=True,
        )
        server.channel_class = Channel
        server.maintenance = partial(close_silent, server)
        server.most_channels = channels_before_room(most)
        if gate is not None:
            gate.close_all = lambda: server.trigger.pull_trigger(lambda: _close_all(server))
        thread = threading.Thread(target=server.run, name="registry", daemon=True)
        thread.start()
        stack.callback(_end, server, channels, thread)
        if tls is not None:
            from nixdock.runtime.tls_front import tls_front  # noqa: PLC0415 (loads asyncio)

            hand_over = partial(_hand_over, server, channels)
            stack.enter_context(tls_front(listens, tls, hand_over, most))
        yield actual


def _hand_over(server: Any, channels: dict[int, Any], connection: socket.socket) -> None:
    """Let the server have a connection, which it adds in its own thread."""
    client = ("localhost", None)
    server.trigger.pull_trigger(
        lambda: server.channel_class(server, connection, client, server.adj, map=channels)
    )


def _end(server: Any, channels: dict[int, Any], thread: threading.Thread) -> None:
    # The loop of the server ends in its own thread, when it has nothing left to watch. Its trigger
    # is closed last: threads that have finished an answer pull it.
    server.trigger.pull_trigger(lambda: _drop(server, channels))
    thread.join(_SECONDS_TO_END)
    server.task_dispatcher.shutdown(timeout=_SECONDS_TO_END)
    server.close()


def _drop(server: Any, channels: dict[int, Any]) -> None:
    """Close all connections, and let the server watch nothing any more."""
    _close_all(server)
    channels.clear()


def _close_all(server: Any) -> None:
    for channel in [*server.active_channels.values()]:
        channel.handle_close()
