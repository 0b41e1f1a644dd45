"""Passing bytes from one function to the next without copies.

A producer fills buffers from a `BufferPool` and passes on views of them. The pool reuses a buffer
only when no view of it is alive, so a consumer may keep a view for as long as it likes: in a
queue, in another thread, in a list. Keeping many views costs memory but never corrupts them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

__all__ = ["BUFFER_SIZE", "BufferPool", "Write", "whole_bytes"]

Write = Callable[[memoryview | bytes], object]
"""A function that accepts the next bytes of a stream."""

BUFFER_SIZE: Final = 1 << 20
"""The size of each buffer of a pool, in bytes."""


def whole_bytes(view: memoryview) -> bytes:
    """Return the bytes of a view; those that it is a view of, if they are the same."""
    data = view.obj
    return data if isinstance(data, bytes) and len(data) == len(view) else bytes(view)


class BufferPool(threading.local):
    """Buffers that are reused within a thread: fresh memory costs more than reading a file."""

    def __init__(self) -> None:
        self._buffers: list[bytearray] = []
        self._next = 0

    def free_buffer(self) -> memoryview:
        """Return a view of a whole buffer that has no other view; its contents are undefined."""
        count = len(self._buffers)
        for step in range(count):
            index = (self._next + step) % count
            if _is_free(self._buffers[index]):
                self._next = index + 1
                return memoryview(self._buffers[index])
        self._buffers.append(_new_buffer())
        return memoryview(self._buffers[-1])


def _new_buffer() -> bytearray:
    # Allocate a spare byte, so that the append in `_is_free` never moves the buffer.
    buffer = bytearray(BUFFER_SIZE + 1)
    del buffer[-1]
    return buffer


def _is_free(buffer: bytearray) -> bool:
    """Return whether no view of `buffer` is alive: a bytearray with views can't be resized."""
    try:
        buffer.append(0)
    except BufferError:
        return False
    del buffer[-1]
    return True
