"""Writing in a thread of its own, so that reading and hashing don't wait for the reader."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nixdock.digest import Write

__all__ = ["in_background"]

_CHUNKS: Final = 8


@contextmanager
def in_background(write: Write) -> Iterator[Write]:
    """Give a function that hands its bytes to `write` in another thread, in order.

    At most a few chunks wait; an error of `write` is raised by a later call, or at the end.
    """
    waiting: queue.Queue[bytes | None] = queue.Queue(_CHUNKS)
    errors: list[BaseException] = []

    def run() -> None:
        while (chunk := waiting.get()) is not None:
            if not errors:
                try:
                    write(chunk)
                except BaseException as error:
                    errors.append(error)

    def write_later(data: memoryview | bytes) -> None:
        if errors:
            raise errors[0]
        if len(data):
            waiting.put(bytes(data))

    thread = threading.Thread(target=run, name="writer", daemon=True)
    thread.start()
    try:
        yield write_later
    finally:
        waiting.put(None)
        thread.join()
    if errors:
        raise errors[0]
