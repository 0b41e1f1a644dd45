"""What nixdock asks of the operating system about processes."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["end_with_parent", "ending_held_back"]

_PR_SET_PDEATHSIG: Final = 1
_ENDING: Final = frozenset({signal.SIGINT, signal.SIGTERM})


@contextmanager
def ending_held_back() -> Iterator[None]:
    """Hold back the signals that ask this process, and those it starts meanwhile, to end.

    A worker that got one before `end_with_parent` would act on it the way its parent does.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(parent: int) -> None:
    """Let this worker process end when the process `parent`, which started it, does.

    An interrupt from the terminal reaches the whole group: the parent alone acts on it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
