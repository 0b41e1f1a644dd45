"""A job in a process of its own, which sends what it finds out to the process that started it.

A process that has threads must not fork, because locks that they hold stay locked in the fork.
Whoever is going to have threads, and a job that forks worker processes, starts the job before.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, NoReturn

from nixdock.system.children import Child, Reader, Writer, pipe, start_child
from nixdock.system.workers import end_with_parent, portable, termination_signals_blocked

__all__ = ["CAN_FORK", "Forked", "Send", "forked"]

CAN_FORK: Final = sys.platform == "linux"
"""Whether this system lets a process fork safely."""

Send = Callable[[object], None]
"""Sends an object to the process that started the job; several threads may do so."""

_END: Final = signal.SIGUSR1
"""What ends a job: not SIGTERM, which a job ignores if its parent does."""

_PATIENCE: Final = 2.0
"""How long a job may take to end its own workers, in seconds."""


class Forked:
    """A job in a process that this one has forked."""

    def __init__(self, child: Child, reader: Reader) -> None:
        self._child = child
        self._reader = reader
        self._ending = threading.Lock()

    def received(self) -> Iterator[Any]:
        """Yield what the job sends until it is done; only one thread may do so.

        Raise what the job raises, and EOFError if its process is killed.
        """
        while True:
            try:
                kind, value = self._reader.receive()
            except (EOFError, OSError):
                raise EOFError from None
            if kind is object:
                yield value
                continue
            with self._ending:
                self._child.wait(_PATIENCE)
            if kind is Exception:
                raise value
            return

    def end(self) -> None:
        """End the job and its workers, if it is not done, and wait until they are gone."""
        with self._ending:
            self._child.signal(_END)
            self._child.wait(_PATIENCE)
            self._child.signal(signal.SIGKILL)
            self._child.wait()


@contextmanager
def forked(job: Callable[[Send], None]) -> Iterator[Forked]:
    """Run `job` in a fork of this process, which ends with the block and with this process."""
    reader, writer = pipe()
    with reader:
        with writer, termination_signals_blocked():
            child = start_child(partial(_run, job, reader, writer, os.getpid()))
        running = Forked(child, reader)
        try:
            yield running
        finally:
            running.end()


def _run(job: Callable[[Send], None], reader: Reader, writer: Writer, parent: int) -> None:
    end_with_parent(parent)
    # The job ends its own workers on the way out.
    signal.signal(_END, _exit)
    if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _exit)
    reader.close()
    lock = threading.Lock()

    def send(kind: object, value: object) -> None:
        with lock:
            writer.send((kind, value))

    # If nobody reads any more, the process is about to be ended.
    with suppress(BrokenPipeError):
        try:
            job(partial(send, object))
        except Exception as error:
            send(Exception, portable(error))
        else:
            send(None, None)


def _exit(*_: object) -> NoReturn:
    sys.exit(1)
