"""What a server was asked for, and whether it is busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from msgspec import Struct

__all__ = ["Answer", "Tally"]


class Answer(Struct, frozen=True):
    """An answer to a request; `size` is that of its body, which HEAD leaves out."""

    method: str
    path: str
    status: int
    size: int
    blob: str | None = None
    """The digest of the blob, if the request was about one."""


class Tally:
    """Counts answers; several threads may use it. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._busy = 0
        self._last = clock()
        self._answers = 0
        self._blobs: dict[str, int] = {}

    def begin(self) -> None:
        """Count a request whose answer is not complete."""
        with self._lock:
            self._busy += 1

    def end(self) -> None:
        """Count the end of an answer, complete or not."""
        with self._lock:
            self._busy -= 1
            self._last = self._clock()

    def add(self, answer: Answer) -> None:
        """Count an answer that is about to be sent."""
        with self._lock:
            self._answers += 1
            if answer.blob is not None and answer.method == "GET" and answer.status < 300:
                self._blobs[answer.blob] = self._blobs.get(answer.blob, 0) + answer.size

    @property
    def answers(self) -> int:
        """The number of all answers."""
        with self._lock:
            return self._answers

    @property
    def blobs(self) -> dict[str, int]:
        """The blobs that were fetched, by digest, and the bytes that were asked for of each."""
        with self._lock:
            return dict(self._blobs)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is being sent."""
        with self._lock:
            return self._busy > 0

    def idle_seconds(self) -> float:
        """Return how long there has been nothing to do; 0 while an answer is being sent."""
        with self._lock:
            return 0.0 if self._busy else self._clock() - self._last
