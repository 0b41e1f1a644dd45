"""Passing bytes on to a thread of their own, so that reading does not wait for what follows."""

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


class Background:
    """Calls functions with bytes in another thread, in order; the end of a `with` waits for all.

    At most one call is running and one is waiting. An error is raised by a later call of `later`,
    or at the end, and no function is called after it. If the `with` ends with an error, the
    waiting call is dropped and a stuck one is abandoned: a reader that has stopped reading must not
    keep this process from ending.
    """

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[Write, memoryview | bytes] | None] = queue.Queue(1)
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)

    def later(self, function: Write, data: memoryview | bytes) -> None:
        """Let `function` be called with `data`."""
        if self._errors:
            raise self._errors[0]
        self._waiting.put((function, data))

    def wait(self) -> None:
        """Wait until all that was asked for is done."""
        self._waiting.join()
        if self._errors:
            raise self._errors[0]

    def _run(self) -> None:
        while (call := self._waiting.get()) is not None:
            if not self._errors:
                self._call(*call)
            # The buffer below a view can be reused once nothing refers to the view.
            del call
            self._waiting.task_done()

    def _call(self, function: Write, data: memoryview | bytes) -> None:
        try:
            function(data)
        except BaseException as error:
            self._errors.append(error)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
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
    """Give a function that hands its bytes to `write` in another thread, in order."""
    with Background() as background:
        yield partial(background.later, write)
