"""The program's standard streams, whatever the caller has connected or closed."""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

from nixdock.errors import OutputError
from nixdock.system.readers import DescriptorReader
from nixdock.system.writers import DescriptorStream

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["prepare_streams", "say_at_end"]

_PATIENCE: Final = 0.5


def prepare_streams() -> None:
    """Keep the descriptors 0 to 2 for standard streams, and let these wait until they are ready.

    Whoever shares a terminal or a socket with nixdock may have made it non-blocking for all, but
    Python's own streams lose data then. Where standard output can't be written, OutputError says
    so; what can't be written to standard error is lost, and changes no exit status. Characters that
    the encoding of a stream lacks are escaped.
    """
    _occupy_closed_descriptors()
    if sys.stdin is not None and not os.get_blocking(sys.stdin.fileno()):
        sys.stdin = io.TextIOWrapper(io.BufferedReader(DescriptorReader(sys.stdin.fileno())))
    if sys.stdout is not None:
        raw = _StandardOutput(sys.stdout.fileno())
        sys.stdout = _with_raw(sys.stdout, raw, by_line=raw.isatty())
    if sys.stderr is not None:
        sys.stderr = _with_raw(sys.stderr, _StandardError(sys.stderr.fileno()), by_line=True)


def say_at_end(line: str) -> None:
    """Write a line to standard error, if it can be written soon.

    Who reads that may be gone, as a terminal is after SIGHUP, or may read no more: neither must
    change the exit status of a process that is to end, nor keep it.
    """
    if sys.stderr is None:
        return
    with suppress(OSError):
        ready = select.poll()
        ready.register(sys.stderr.fileno(), select.POLLOUT)
        if ready.poll(_PATIENCE * 1000):
            # Not by the stream, which would write again at exit what it could not write.
            os.write(sys.stderr.fileno(), f"{line}\n".encode())


def _occupy_closed_descriptors() -> None:
    """Open /dev/null where a standard stream is closed.

    A file or connection that is opened later would get its descriptor, and with it what this
    process or a child writes to that stream.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free descriptor, which is this one, is the one that is opened.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _with_raw(stream: TextIO, raw: io.RawIOBase, *, by_line: bool) -> io.TextIOWrapper:
    errors = "backslashreplace" if stream.errors == "strict" else stream.errors
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, errors, line_buffering=by_line)


class _StandardOutput(DescriptorStream):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            _discard(self.fileno())
            if isinstance(error, BrokenPipeError):
                message = "the reader of standard output closed it before the end"
            else:
                message = f"can't write standard output: {error.strerror}"
            raise OutputError(message) from None


class _StandardError(DescriptorStream):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            # The job is to go on although nobody can be told.
            _discard(self.fileno())
            return memoryview(data).nbytes


def _discard(descriptor: int) -> None:
    """Lose what is written from now on; Python writes what is left once more when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
