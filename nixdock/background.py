"""Passing bytes on to a thread of their own, so that reading does not wait for what follows."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from nixdock.digest import Write

__all__ = ["in_background"]

_PATIENCE: Final = 0.5


@contextmanager
def in_background(write: Write) -> Iterator[Write]:
    """Give a function that hands its bytes to `write` in another thread, in order.

    One chunk is in hand and one waits, so a view is done with after two further calls. An error
    of `write` is raised by a later call, or at the end. When the block ends with an error, what
    waits is dropped, and a `write` that is stuck is left behind.
    """
    waiting: queue.Queue[memoryview | bytes | None] = queue.Queue(1)
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
            waiting.put(data)

    thread = threading.Thread(target=run, name="writer", daemon=True)
    thread.start()
    try:
        yield write_later
    except BaseException as error:
        errors.append(error)
        # A reader that has stopped reading must not keep this process from ending.
        with suppress(queue.Full):
            waiting.put(None, timeout=_PATIENCE)
        thread.join(_PATIENCE)
        raise
    waiting.put(None)
    thread.join()
    if errors:
        raise errors[0]
