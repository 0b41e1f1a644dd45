"""TLS in front of a server: connections are decrypted, and handed over as sockets of their own."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, cast

from nixdock.errors import InputError
from nixdock.system.presence import is_pipe

__all__ = ["server_context", "tls_front"]

_SECONDS_FOR_HANDSHAKE: Final = 10
_SECONDS_TO_READ: Final = 60
_SECONDS_TO_END: Final = 2
_CHUNK: Final = 1 << 17

_HandOver = Callable[[socket.socket], object]


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the settings of a server with the certificate and the key in two files, in PEM.

    Raise InputError if a file can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client could ask for new keys again and again, and each costs the server more.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    for file in (certificate, key):
        if is_pipe(file):
            # As of `<(pass show key)` in a shell: it can be read only once.
            continue
        try:
            file.read_bytes()
        except OSError as error:
            raise InputError(f"can't read {file}: {error.strerror}", path=file) from None
    try:
        context.load_cert_chain(certificate, key, _no_password(key))
    except OSError as error:
        # Of what is not PEM at all, OpenSSL states none, or that a pipe has no positions.
        known = error.reason if isinstance(error, ssl.SSLError) else None
        reason = f": {known.lower().replace('_', ' ')}" if known else ""
        raise InputError(
            f"{certificate} and {key} are not a certificate and its key, in PEM{reason}",
            path=certificate,
        ) from None
    return context


def _no_password(key: Path) -> Callable[[], str]:
    def refuse() -> str:
        # OpenSSL would ask on the terminal.
        raise InputError(f"{key} is encrypted; give a key without a password", path=key)

    return refuse


@contextmanager
def tls_front(
    listener: socket.socket, context: ssl.SSLContext, hand_over: _HandOver, most: int
) -> Iterator[None]:
    """Accept connections, `most` at a time, until the block ends, in a thread of its own.

    `hand_over` gets a socket for each connection whose handshake is complete, and closes it. What
    is read there has been decrypted. No client can hold up another one: it has ten seconds for the
    handshake, a minute to read some of what it is sent, and when there are many connections, one
    that is in its handshake or at its end makes room for a new one.
    """
    loop = asyncio.new_event_loop()
    # It reports every client that goes away.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    ended = asyncio.Event()
    front = _Front(listener, context, hand_over, most)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(front.run(ended))

    thread = threading.Thread(target=run, name="tls", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)
        thread.join(_SECONDS_TO_END)


class _Front:
    def __init__(
        self, listener: socket.socket, context: ssl.SSLContext, hand_over: _HandOver, most: int
    ) -> None:
        # A descriptor of its own, which no other loop watches.
        self._listener = listener.dup()
        self._listener.setblocking(False)
        self._context = context
        self._hand_over = hand_over
        self._tasks: set[asyncio.Task[None]] = set()
        # Those that are in a handshake or at their end, from the oldest to the newest.
        self._yielding: dict[asyncio.Task[None], None] = {}
        self._lacks_slot = False
        self._slots = asyncio.Semaphore(most)

    async def run(self, ended: asyncio.Event) -> None:
        """Serve until `ended` is set, and close all connections then."""
        accepting = asyncio.create_task(self._accept())
        await ended.wait()
        accepting.cancel()
        # What has just been accepted gets to know that the connection is its own.
        await asyncio.sleep(0)
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(accepting, *self._tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError:
                # The client is gone already, or there are no descriptors for the moment.
                await asyncio.sleep(0.1)
                continue
            self._lacks_slot = self._slots.locked()
            self._make_room()
            try:
                await self._slots.acquire()
            except asyncio.CancelledError:
                connection.close()
                raise
            self._lacks_slot = False
            task = asyncio.create_task(self._pass_on(connection))
            self._tasks.add(task)
            task.add_done_callback(self._forget)

    def _yield_slot(self, task: asyncio.Task[None]) -> None:
        self._yielding[task] = None
        self._make_room()

    def _make_room(self) -> None:
        if self._lacks_slot and self._yielding:
            self._lacks_slot = False
            next(iter(self._yielding)).cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._slots.release()
        self._tasks.discard(task)
        self._yielding.pop(task, None)
        if not task.cancelled():
            # What went wrong is the client's matter.
            task.exception()

    async def _pass_on(self, connection: socket.socket) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._yield_slot(task)
        outer = await self._decrypted(connection)
        self._yielding.pop(task)
        pairs = [outer]
        try:
            inner = await self._handed_over()
            pairs.append(inner)
            await _first_end(_pump(outer[0], inner[1]), _pump(inner[0], outer[1]))
            self._yield_slot(task)
            for _, writer in (inner, outer):
                writer.close()
                async with asyncio.timeout(_SECONDS_TO_READ):
                    await writer.wait_closed()
        finally:
            for _, writer in pairs:
                writer.transport.abort()

    async def _handed_over(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        self._hand_over(theirs)
        try:
            return await asyncio.open_connection(sock=ours, limit=_CHUNK)
        except BaseException:
            ours.close()
            raise

    async def _decrypted(
        self, connection: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_CHUNK)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=self._context,
            ssl_handshake_timeout=_SECONDS_FOR_HANDSHAKE,
            ssl_shutdown_timeout=_SECONDS_TO_READ,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        # Not `wait_for`, which may swallow that it is cancelled.
        async with asyncio.timeout(_SECONDS_TO_READ):
            await writer.drain()


async def _first_end(*pumps: Coroutine[None, None, None]) -> None:
    """Wait for the end of either direction, which is that of the connection."""
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
