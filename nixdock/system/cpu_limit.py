"""Limits for the time that a computation may take on the processor."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final, TypeVar

__all__ = ["CpuTimeExceededError", "within_cpu_time"]

_Result = TypeVar("_Result")
_AGAIN: Final = 0.1
_SUPPORTED: Final = hasattr(signal, "setitimer")


class CpuTimeExceededError(Exception):
    """A computation took too long."""


def within_cpu_time(seconds: float, compute: Callable[[], _Result]) -> _Result:
    """Return the result of `compute`; raise CpuTimeExceededError if it takes too long.

    The time is that of this process on the processor. There is no limit outside of the main
    thread, which alone can be interrupted.
    """
    if not _SUPPORTED or threading.current_thread() is not threading.main_thread():
        return compute()
    before = signal.signal(signal.SIGVTALRM, _exceeded)
    try:
        # More than once: Python drops an exception that is raised in a callback or finalizer.
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds, _AGAIN)
        return compute()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _exceeded(_signal: int, _frame: FrameType | None) -> None:
    raise CpuTimeExceededError
