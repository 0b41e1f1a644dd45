"""The HTTP server of the fake registry: it reads, logs and answers, and has the faults."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs, urlsplit

from .fake_answers import Answer, Received

if TYPE_CHECKING:
    from .fake_registry import FakeRegistry, Fault

__all__ = ["Server"]

_SENDS = {"PUT", "PATCH", "POST"}
_PIECE = 1 << 20


class Server(ThreadingHTTPServer):
    """A server of a registry, by the name `registry` or `storage`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self, registry: FakeRegistry, name: str, address: str, tls: ssl.SSLContext | None
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.registry = registry
        self.name = name
        self.tls = tls
        super().__init__((address, 0), _Handler)
        shown = f"[{address}]" if ":" in address else address
        self.host = f"{shown}:{self.server_address[1]}"

    @classmethod
    @contextmanager
    def start(
        cls, registry: FakeRegistry, name: str, address: str, tls: ssl.SSLContext | None
    ) -> Iterator[Server]:
        """Serve in a thread until the context ends."""
        with cls(registry, name, address, tls) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()

    def finish_request(self, request: object, client_address: object) -> None:
        """Shake hands in the connection's own thread, so that no client delays another."""
        if self.tls is not None:
            assert isinstance(request, socket.socket)
            request = self.tls.wrap_socket(request, server_side=True)
        with suppress(OSError):
            super().finish_request(request, client_address)  # type: ignore[arg-type]
        if self.tls is not None:
            with suppress(OSError):
                request.close()  # type: ignore[attr-defined]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients break connections in these tests."""


class _CutError(OSError):
    """The connection was cut by a fault, or by the client, after some `data`."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    # Headers and body are small packets in turn, which Nagle's algorithm would delay.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._number = next(self.server.registry.numbers)

    def _serve(self) -> None:
        registry = self.server.registry
        fault = registry.fault(self.command, self.path)
        body = b""
        try:
            if fault is None or not fault.early:
                body = self._body(fault)
        except _CutError as cut:
            self._log(len(cut.data))
            registry.keep_partial(self.command, self.path, cut.data, self.server.name)
            self._break(fault)
            return
        self._log(len(body))
        if fault is not None and fault.status:
            self.close_connection = fault.early
            self._send(Answer(fault.status, dict(fault.headers), fault.body), None)
            return
        split = urlsplit(self.path)
        query = parse_qs(split.query, keep_blank_values=True)
        # A Message is no Mapping by its type, but finds headers in any case, as is wanted here.
        headers = cast("Mapping[str, str]", self.headers)
        received = Received(self.command, split.path, query, headers, body, self.server.name)
        self._send(registry.answer(received), fault)

    do_GET = do_HEAD = do_PUT = do_PATCH = do_POST = do_DELETE = do_CONNECT = _serve  # noqa: N815

    def _body(self, fault: Fault | None) -> bytes:
        length = int(self.headers.get("Content-Length", 0))
        cut = fault.cut if fault is not None and self.command in _SENDS else None
        read = bytearray()
        while len(read) < length:
            if cut is not None and len(read) >= cut:
                break
            most = min(_PIECE, length - len(read))
            if cut is not None:
                most = min(most, cut - len(read))
            piece = self.rfile.read(most)
            if not piece:
                raise _CutError(bytes(read))
            read += piece
        if cut is not None:
            raise _CutError(bytes(read))
        return bytes(read)

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        if self.server.registry.warning:
            headers["Warning"] = self.server.registry.warning
        if answer.status == 204:
            del headers["Content-Length"]
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = fault.cut if fault is not None and self.command not in _SENDS else None
        self.wfile.write(memoryview(answer.body)[:cut])
        if cut is not None:
            self._break(fault)

    def _break(self, fault: Fault | None) -> None:
        self.close_connection = True
        if fault is not None and fault.stall:
            self.server.registry.closing.wait()
            return
        # Closing with this option resets the connection.
        with suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _log(self, received: int) -> None:
        from .fake_registry import Logged

        registry = self.server.registry
        headers = {name.title(): value for name, value in self.headers.items()}
        with registry.lock:
            registry.log.append(
                Logged(self.command, self.path, headers, received, self.server.name, self._number)
            )

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: requests are in the registry's log."""
