"""The threads that code under test starts.

Their number says nothing: a thread of an earlier test may end at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["new_threads"]


def new_threads() -> Callable[[], set[threading.Thread]]:
    """Return a function that returns the running threads that have been started since."""
    before = set(threading.enumerate())
    return lambda: set(threading.enumerate()) - before
