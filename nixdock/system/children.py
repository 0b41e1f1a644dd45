"""Child processes that are forks of this one, and pipes through which they send objects.

multiprocessing has the same and more, but to load it takes as long as to hash 20 MB.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["Child", "Reader", "Writer", "pipe", "start_child"]

# The bytes of an object's size in a pipe.
_SIZE: Final = 8
# How long to sleep between two looks at a process, in seconds: at first, and at most.
_FIRST_SLEEP: Final = 0.001
_LONGEST_SLEEP: Final = 0.05


class Child:
    """A process that this one has forked; one thread at a time may use it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._is_gone = False

    def is_alive(self) -> bool:
        """Tell whether the process has not ended yet."""
        if not self._is_gone:
            self._look(os.WNOHANG)
        return not self._is_gone

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the process has ended, for no longer than some seconds."""
        if seconds is None:
            if not self._is_gone:
                self._look(0)
            return
        end = time.monotonic() + seconds
        sleep = _FIRST_SLEEP
        while self.is_alive() and (left := end - time.monotonic()) > 0:
            time.sleep(min(sleep, left))
            sleep = min(2 * sleep, _LONGEST_SLEEP)

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it has not ended."""
        # Until it is waited for, its process ID is that of no other one.
        if self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _look(self, options: int) -> None:
        try:
            pid, _ = os.waitpid(self.pid, options)
        except ChildProcessError:
            # Somebody else has waited for it, or children are not to be waited for.
            pid = self.pid
        self._is_gone = pid == self.pid


def start_child(run: Callable[[], object]) -> Child:
    """Run a function in a fork of this process, which ends with it and leaves no `with` block."""
    # What is in the buffers would be written twice.
    _flush_streams()
    if pid := os.fork():
        return Child(pid)
    status = 1
    try:
        run()
        status = 0
    except SystemExit:
        pass
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        # Whatever is raised here, the frames of the parent must not go on in the child.
        try:
            _flush_streams()
        finally:
            os._exit(status)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            # It is the caller's to learn of errors, when it writes more.
            with suppress(OSError, ValueError):
                stream.flush()


class _End:
    """One end of a pipe, which its `with` block closes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close this end, unless it is closed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Reader(_End):
    """The end of a pipe at which objects arrive."""

    def receive(self) -> Any:
        """Return the next object; raise EOFError if there is no more, or not the whole of it."""
        import pickle  # noqa: PLC0415 (slow)

        size = int.from_bytes(self._exactly(_SIZE), "little")
        return pickle.loads(self._exactly(size))

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        left = memoryview(data)
        while left:
            count = os.readv(self._descriptor, [left])
            if not count:
                raise EOFError
            left = left[count:]
        return data


class Writer(_End):
    """The end of a pipe that takes objects, from one thread at a time."""

    def send(self, value: object) -> None:
        """Send an object; raise what pickle raises if it does not take it, and OSError."""
        import pickle  # noqa: PLC0415 (slow)

        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        left = memoryview(len(data).to_bytes(_SIZE, "little") + data)
        while left:
            left = left[os.write(self._descriptor, left) :]


def pipe() -> tuple[Reader, Writer]:
    """Return the two ends of a new pipe."""
    # Loaded before a process is forked, it is there in all of them; and one of them that has too
    # many open files can load nothing, but has to send what went wrong.
    import pickle  # noqa: F401, PLC0415 (slow)

    reader, writer = os.pipe()
    return Reader(reader), Writer(writer)
