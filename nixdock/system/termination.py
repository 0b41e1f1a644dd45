"""Signals that end nixdock: they become exceptions, so that context managers clean up."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

from nixdock.system.workers import TERMINATION

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["TerminatedError", "handle_termination", "termination_held"]

# Seconds: long enough for a callback to return, too short for anybody to notice.
_AGAIN: Final = 0.01


class TerminatedError(SystemExit):
    """Signal `number` ends the process."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def handle_termination() -> None:
    """Let the signals of TERMINATION raise TerminatedError, or KeyboardInterrupt for SIGINT.

    A signal that was ignored stays ignored, as with nohup; but not SIGCHLD, with which the system
    would forget how programs end, and a failure would pass for a success. Python drops exceptions
    in callbacks and finalizers; the exceptions of signals are raised again after them.
    """
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Python makes a KeyboardInterrupt of SIGINT, which ended the process while it was loaded.
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in TERMINATION - {signal.SIGINT}:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _terminate)
    sys.unraisablehook = _raise_again


@contextmanager
def termination_held() -> Iterator[None]:
    """Let the handlers of TERMINATION be called only at the end of the block.

    Processes that are started meanwhile have no signals blocked. Handlers are called in the main
    thread alone: in another one, this changes nothing.
    """
    handlers = {
        each: handler for each in TERMINATION if callable(handler := signal.getsignal(each))
    }
    arrived: list[int] = []
    is_held = True

    def hold(number: int, frame: FrameType | None) -> None:
        if is_held:
            arrived.append(number)
        else:
            handlers[signal.Signals(number)](number, frame)

    try:
        for each in handlers:
            signal.signal(each, hold)
    except ValueError:
        # This is another thread.
        handlers.clear()
    try:
        yield
    finally:
        # If one of the next lines is interrupted, `hold` calls what has not been put back.
        is_held = False
        for each, handler in handlers.items():
            signal.signal(each, handler)
        for number in arrived[:1]:
            handlers[signal.Signals(number)](number, None)


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    # The end of a session brings several signals: none must interrupt the removal of files.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise TerminatedError(number)


def _raise_again(dropped: UnraisableHookArgs) -> None:
    error = dropped.exc_value
    if not isinstance(error, (TerminatedError, KeyboardInterrupt)):
        sys.__unraisablehook__(dropped)
        return

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        # A new exception: the dropped one has a traceback, which would only mislead.
        raise (
            TerminatedError(error.number)
            if isinstance(error, TerminatedError)
            else KeyboardInterrupt
        )

    # What is raised here would be dropped, too.
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)
