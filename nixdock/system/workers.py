"""Signals of worker processes: workers end with their parent, and only the parent handles ^C."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["end_with_parent", "termination_signals_blocked"]

_PR_SET_PDEATHSIG: Final = 1
_TERMINATION: Final = frozenset({signal.SIGINT, signal.SIGTERM})


@contextmanager
def termination_signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM in this process, and in the processes that it starts meanwhile.

    Before a worker calls `end_with_parent`, it would run its parent's handlers for them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINATION)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(parent: int) -> None:
    """End this worker process when its parent, whose process ID is `parent`, ends (on Linux).

    SIGINT is ignored: a terminal sends it to the whole process group, and the parent handles it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TERMINATION)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The parent may have ended before the call of prctl.
        if os.getppid() != parent:
            os._exit(1)
