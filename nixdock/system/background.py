"""Calls in a background thread, so that reading files does not wait for hashing and writing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

from nixdock.system.buffers import Write

__all__ = ["Background", "in_background"]

_PATIENCE: Final = 0.5
"""How long to wait for the thread after an error, in seconds."""


class Background:
    """Call functions with bytes in another thread, in order.

    At most one call runs and one waits. The thread starts with the first one, so that a process
    without other threads may fork before. An error that a function raises is raised again by the
    next use of this object, or when the `with` block ends, and no function is called after it.
    The end of the block waits for all calls. If the block itself fails, the waiting call is
    dropped and one that hangs is abandoned: a pipe whose reader has stopped must not keep the
    process alive.
    """

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[Write, memoryview | bytes] | None] = queue.Queue(1)
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._started = False

    def later(self, function: Write, data: memoryview | bytes) -> None:
        """Call `function` with `data` in the other thread, after all earlier calls."""
        if self._errors:
            raise self._errors[0]
        if not self._started:
            self._thread.start()
            self._started = True
        self._waiting.put((function, data))

    def wait(self) -> None:
        """Wait for all calls so far."""
        self._waiting.join()
        if self._errors:
            raise self._errors[0]

    def _run(self) -> None:
        while (call := self._waiting.get()) is not None:
            if not self._errors:
                self._call(*call)
            # Drop the view before waiting for the next one: its buffer can then be reused.
            del call
            self._waiting.task_done()

    def _call(self, function: Write, data: memoryview | bytes) -> None:
        try:
            function(data)
        except BaseException as error:
            self._errors.append(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if not self._started:
            return
        if error is not None:
            self._errors.append(error)
            with suppress(queue.Full):
                self._waiting.put(None, timeout=_PATIENCE)
            self._thread.join(_PATIENCE)
            return
        self._waiting.put(None)
        self._thread.join()
        if self._errors:
            raise self._errors[0]


@contextmanager
def in_background(write: Write) -> Iterator[Write]:
    """Yield a function that calls `write` in another thread, in order, as Background does."""
    with Background() as background:
        yield partial(background.later, write)
