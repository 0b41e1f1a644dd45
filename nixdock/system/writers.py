"""Writers to files and to open descriptors, such as standard output."""

from __future__ import annotations

import fcntl
import io
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from nixdock.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "DescriptorStream",
    "FileWriter",
    "StreamWriter",
    "descriptor_of",
    "write_all",
    "writing",
]

_PIPE_SIZE: Final = 1 << 20
_STANDARD: Final = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTORS: Final = ("/dev/fd", "/proc/self/fd", "/proc/thread-self/fd")


def descriptor_of(path: Path) -> int | None:
    """Return the descriptor that `path` stands for, such as 1 for /dev/stdout, or None.

    To open such a path is not the same as to use the descriptor: it fails for a socket, and it
    overwrites a file to which a shell wanted to append.
    """
    text = os.path.abspath(path)  # noqa: PTH100 (links must not be resolved)
    directory, name = os.path.split(text)
    if directory in _DESCRIPTORS and name.isascii() and name.isdigit():
        return int(name)
    return _STANDARD.get(text)


def write_all(descriptor: int, data: memoryview | bytes) -> None:
    """Write all of `data`, also to a non-blocking descriptor; raise OSError if that fails."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            ready = select.poll()
            ready.register(descriptor, select.POLLOUT)
            ready.poll()


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Raise OutputError in place of an OSError that says why `file` can't be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"can't write {file}: {error.strerror}", path=file) from None


class DescriptorStream(io.RawIOBase):
    """A stream that writes to an open descriptor, which may be non-blocking; it stays open."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of `data` and return its size."""
        view = memoryview(data).cast("B")
        write_all(self._descriptor, view)
        return len(view)


class StreamWriter:
    """Write to an open descriptor, which may be a pipe; `name` is its name in messages.

    Raise OutputError, with `path`, if writing fails.
    """

    def __init__(self, descriptor: int, name: str, path: Path | None = None) -> None:
        self._descriptor = descriptor
        self._name = name
        self._path = path
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # A larger pipe means fewer context switches. This fails for other files, and for pipes
            # beyond the user's limit: then the usual size has to do.
            with suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    def write(self, data: memoryview | bytes) -> None:
        """Write all of `data`."""
        try:
            write_all(self._descriptor, data)
        except BrokenPipeError:
            message = f"the reader of {self._name} closed it before the end"
            raise OutputError(message, path=self._path) from None
        except OSError as error:
            message = f"can't write {self._name}: {error.strerror}"
            raise OutputError(message, path=self._path) from None


class FileWriter(StreamWriter):
    """Create or truncate `file` and write to it; raise OutputError if that fails.

    A new file has `mode`, which the umask may restrict.
    """

    def __init__(self, file: Path, mode: int = 0o666) -> None:
        with writing(file):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        super().__init__(descriptor, str(file), file)
        self.file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
