"""Signals that end a process, and worker processes, which end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["TERMINATION", "end_with_parent", "portable", "termination_signals_blocked"]

TERMINATION: Final = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
"""The signals after which a process cleans up and ends."""

_PR_SET_PDEATHSIG: Final = 1


@contextmanager
def termination_signals_blocked() -> Iterator[None]:
    """Block the signals of TERMINATION in this process and those that it starts meanwhile.

    Before a worker calls `end_with_parent`, it would run its parent's handlers for them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINATION)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(parent: int) -> None:
    """End this worker process when its parent, whose process ID is `parent`, ends (on Linux).

    All signals of TERMINATION but SIGTERM are ignored: a terminal sends them to the whole process
    group, and the parent handles them. So is SIGTERM if the parent ignores it.
    """
    for number in TERMINATION:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
        elif signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TERMINATION)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The parent may have ended before the call of prctl.
        if os.getppid() != parent:
            os._exit(1)


def portable(error: Exception) -> Exception:
    """Return the error, or one in its place if pickle does not take it, with where it was raised.

    pickle leaves that out.
    """
    import pickle  # noqa: PLC0415 (slow)

    place = _place_of(error)
    try:
        # Those with arguments of their own may be packed, but not unpacked.
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(repr(error))
    error.add_note(place)
    return error


def _place_of(error: Exception) -> str:
    try:
        from traceback import format_exception  # noqa: PLC0415 (slow)

        return "".join(format_exception(error))
    except OSError:
        # A process with too many open files can't load what shows the place.
        return "in a worker process"
