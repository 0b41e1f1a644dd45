"""Bytes on their way from one piece of code to the next, without a copy.

A producer fills buffers from a `BufferPool` and hands out views of them. The pool reuses a buffer
only when no view of it is alive, so a consumer may keep a view for as long as it likes: in a
queue, in another thread, in a list. A consumer that keeps many views costs memory, never bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

__all__ = ["BUFFER_SIZE", "BufferPool", "Write"]

Write = Callable[[memoryview | bytes], object]
"""Takes the next bytes of a stream."""

BUFFER_SIZE: Final = 1 << 20


class BufferPool(threading.local):
    """Buffers of BUFFER_SIZE bytes, reused within a thread: new memory costs more than a read."""

    def __init__(self) -> None:
        self._buffers: list[bytearray] = []
        self._next = 0

    def take(self) -> memoryview:
        """Return a buffer of which no view is alive; its contents are undefined."""
        count = len(self._buffers)
        for step in range(count):
            index = (self._next + step) % count
            if _is_free(self._buffers[index]):
                self._next = index + 1
                return memoryview(self._buffers[index])
        self._buffers.append(_new_buffer())
        return memoryview(self._buffers[-1])


def _new_buffer() -> bytearray:
    # Room for one byte more, so that `_is_free` never moves the buffer.
    buffer = bytearray(BUFFER_SIZE + 1)
    del buffer[-1]
    return buffer


def _is_free(buffer: bytearray) -> bool:
    """Tell whether no view of `buffer` is alive: Python refuses to resize one that has a view."""
    try:
        buffer.append(0)
    except BufferError:
        return False
    del buffer[-1]
    return True
