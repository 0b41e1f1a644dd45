"""Reading a stream in a background thread, so that nobody waits for what makes its bytes."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from nixdock.system.buffers import whole_bytes
from nixdock.system.readers import ReadOnlyStream

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["ReadAhead", "read_ahead", "reading_in_turn"]

_PIECE: Final = 1 << 20
_MOST_WAITING: Final = 3
_PATIENCE: Final = 0.5
"""How long to wait for the thread when the stream is closed, in seconds."""
_IN_TURN: Final = ContextVar("in_turn", default=False)


@contextmanager
def reading_in_turn() -> Iterator[None]:
    """Let `read_ahead` start no threads within the block, for this thread.

    Where every core has streams of its own, threads would only move bytes from core to core.
    """
    token = _IN_TURN.set(True)
    try:
        yield
    finally:
        _IN_TURN.reset(token)


def read_ahead(stream: io.RawIOBase) -> io.RawIOBase:
    """Return the bytes of a stream: read ahead by a thread, or else the stream itself."""
    return stream if _IN_TURN.get() else ReadAhead(stream)


class ReadAhead(ReadOnlyStream):
    """The bytes of `stream`, which a thread reads ahead, at most five megabytes of them.

    What the stream raises is raised where the bytes would have been. The thread closes `stream`, at
    its end or when this stream is closed before.
    """

    def __init__(self, stream: io.RawIOBase) -> None:
        super().__init__()
        self._source = stream
        self._pieces: queue.Queue[bytes | BaseException] = queue.Queue(_MOST_WAITING)
        self._piece = memoryview(b"")
        self._end: BaseException | None = None
        self._at_end = False
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        if not self._piece and not self._at_end:
            self._next_piece()
        if self._end is not None:
            raise self._end
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._piece))
        view[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return a piece as it came, without a copy, if it has at most `size` bytes."""
        if size < 0:
            return self.readall()
        if not self._piece and not self._at_end:
            self._next_piece()
        if self._end is not None:
            raise self._end
        taken, self._piece = self._piece[:size], self._piece[size:]
        return whole_bytes(taken)

    def close(self) -> None:
        """Stop reading; a thread that hangs in the other stream is abandoned."""
        if not self.closed:
            self._abandoned = True
            # It may wait for room, and puts one more piece at most.
            with suppress(queue.Empty):
                while True:
                    self._pieces.get_nowait()
            self._thread.join(_PATIENCE)
        super().close()

    def _next_piece(self) -> None:
        piece = self._pieces.get()
        if isinstance(piece, BaseException):
            self._end = piece
            self._at_end = True
        else:
            self._piece = memoryview(piece)
            self._at_end = not piece

    def _run(self) -> None:
        try:
            while not self._abandoned:
                piece = self._source.read(_PIECE) or b""
                self._pieces.put(piece)
                if not piece:
                    return
        except BaseException as error:
            self._pieces.put(error)
        finally:
            self._source.close()
