"""Requests that wait for an image to be settled."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any, Final

from nixdock.runtime.replies import RefusedError

__all__ = ["MOST_WAITING", "Waiting"]

MOST_WAITING: Final = 32
"""How many requests may wait at the same time; each takes a thread of the server."""

_RETRY_SECONDS: Final = 5


class Waiting:
    """A bound for the requests that wait, so that those that need not wait are answered."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._places = threading.BoundedSemaphore(most)

    def wait(self, settled: Future[Any]) -> None:
        """Return when an image is settled.

        Raise RefusedError if it can't be built, or at once if too many requests are waiting.
        """
        # Clients ask again after this status.
        if not self._places.acquire(blocking=False):
            message = "the image is being built, and too many requests wait for it"
            headers = {"Retry-After": str(_RETRY_SECONDS)}
            raise RefusedError(503, "TOOMANYREQUESTS", message, headers)
        try:
            error = settled.exception()
        finally:
            self._places.release()
        if error is not None:
            # What went wrong is not for clients: it may name files.
            raise RefusedError(403, "DENIED", "the image can't be built; the server says why")
