"""A connection to a registry that counts the bytes which go over it."""

from __future__ import annotations

import math
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Wire:
    """Where clients connect, and how many bytes have gone to the registry and come from it.

    Nothing passes any more when `most` bytes have come, until the number is raised.
    """

    address: str = ""
    sent: int = 0
    received: int = 0
    most: float = math.inf
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def bytes(self) -> int:
        """Of both directions."""
        return self.sent + self.received

    def count(self, *, sent: int = 0, received: int = 0) -> None:
        """Add to the numbers, and wait until the bytes may pass."""
        with self.changed:
            self.sent += sent
            self.received += received
            self.changed.wait_for(lambda: self.bytes < self.most)

    @contextmanager
    def held_at(self, more: int) -> Iterator[None]:
        """Let no more than about so many bytes pass during the block."""
        self.most = self.bytes + more
        try:
            yield
        finally:
            with self.changed:
                self.most = math.inf
                self.changed.notify_all()


@contextmanager
def wire_to(address: str) -> Iterator[Wire]:
    """Pass connections on to a server on loopback."""
    host, _, port = address.rpartition(":")
    wire = Wire()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(port))) as there:
                back = threading.Thread(target=_pass_on, args=(there, self.request, wire, False))
                back.start()
                _pass_on(self.request, there, wire, True)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        wire.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield wire
        finally:
            server.shutdown()
            thread.join()


def _pass_on(source: socket.socket, target: socket.socket, wire: Wire, is_sent: bool) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            wire.count(**{"sent" if is_sent else "received": len(data)})
            target.sendall(data)
    # The other side learns that nothing more comes.
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
