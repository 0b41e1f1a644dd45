"""Serving an application over HTTP in threads, with waitress."""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nixdock.errors import InputError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["LOOPBACK", "ListenAddress", "listening"]

log = logging.getLogger(__name__)

_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})", re.ASCII)
# Each client that waits for a blob to be packed takes a thread, but none that receives one.
_THREADS: Final = 16
_MOST_CONNECTIONS: Final = 400
_MOST_HEADERS: Final = 16 << 10
_MOST_BODY: Final = 64 << 10
_SECONDS_TO_END: Final = 2


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A host, without the brackets of an IPv6 address, and a port, which is 0 for a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Parse HOST:PORT; raise InputError if it is something else."""
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match[2]) > 65535:
            raise InputError(f"{text!r} is not an address: expected HOST:PORT, as 127.0.0.1:5000")
        return cls(match[1].strip("[]"), int(match[2]))

    @property
    def is_local(self) -> bool:
        """Tell whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


LOOPBACK: Final = ListenAddress("127.0.0.1", 0)
"""A free port that only this machine can reach."""


@contextmanager
def listening(app: WSGIApplication, address: ListenAddress = LOOPBACK) -> Iterator[ListenAddress]:
    """Serve `app` until the block ends; yield the address with the port that was chosen.

    Connections that are open then are closed. Raise InputError if the address can't be used.
    """
    from waitress.server import create_server  # noqa: PLC0415 (only servers need it)

    from nixdock.runtime.channel import PATIENCE, Channel  # noqa: PLC0415

    # It reports every client that goes away.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    with _bound(address) as listener:
        channels: dict[int, Any] = {}
        server: Any = create_server(
            app,
            map=channels,
            sockets=[listener],
            threads=_THREADS,
            ident=None,
            connection_limit=_MOST_CONNECTIONS,
            channel_timeout=PATIENCE,
            cleanup_interval=5,
            max_request_header_size=_MOST_HEADERS,
            max_request_body_size=_MOST_BODY,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=True,
        )
        server.channel_class = Channel
        thread = threading.Thread(target=server.run, name="registry", daemon=True)
        thread.start()
        try:
            yield ListenAddress(address.host, listener.getsockname()[1])
        finally:
            # The loop of the server ends in its own thread, when it has nothing left to watch. Its
            # trigger is closed last: threads that have finished an answer pull it.
            server.trigger.pull_trigger(lambda: _drop(server, channels))
            thread.join(_SECONDS_TO_END)
            server.task_dispatcher.shutdown(timeout=_SECONDS_TO_END)
            server.close()


def _drop(server: Any, channels: dict[int, Any]) -> None:
    """Close all connections, and let the server watch nothing any more."""
    for channel in [*server.active_channels.values()]:
        channel.handle_close()
    channels.clear()


def _bound(address: ListenAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=128)
    except OSError as error:
        raise InputError(f"can't listen on {address}: {error.strerror or error}") from None
