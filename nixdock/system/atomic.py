"""Outputs that appear whole or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from nixdock.errors import OutputError

__all__ = ["FileWriter", "StreamWriter", "temporary_directory", "whole_directory", "whole_file"]

_PIPE_SIZE: Final = 1 << 20


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
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, memoryview(data)[written:])
        except BrokenPipeError:
            message = f"the reader of {self._name} closed it before the end"
            raise OutputError(message, path=self._path) from None
        except OSError as error:
            message = f"can't write {self._name}: {error.strerror}"
            raise OutputError(message, path=self._path) from None


class FileWriter(StreamWriter):
    """Create or truncate `file` and write to it; raise OutputError if that fails."""

    def __init__(self, file: Path) -> None:
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputError(f"can't write {file}: {error.strerror}", path=file) from None
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


@contextmanager
def whole_file(target: Path) -> Iterator[FileWriter]:
    """Yield a writer whose file becomes `target` if the block ends without an error.

    A device or a FIFO is written to, not replaced, also behind a symlink such as /dev/stdout.
    Raise OutputError if `target` is a directory or can't be written.
    """
    target = _with_name(target)
    if target.is_dir() and not target.is_symlink():
        raise OutputError(f"{target} is a directory; name a file", path=target)
    if target.exists() and not target.is_file() and not target.is_dir():
        with FileWriter(target) as writer:
            yield writer
        return
    with temporary_directory(target) as beside, FileWriter(beside / target.name) as writer:
        yield writer
        _rename(writer.file, target, target)


@contextmanager
def whole_directory(target: Path, marker: str) -> Iterator[Path]:
    """Yield an empty directory that becomes `target` if the block ends without an error.

    An existing directory is replaced if it is empty or if it is an earlier output: one that
    contains a file `marker`. Raise OutputError if `target` is anything else or can't be written.
    """
    target = _with_name(target)
    _check_replaceable(target, marker)
    with temporary_directory(target) as beside:
        fresh = beside / target.name
        fresh.mkdir()
        yield fresh
        if target.is_dir():
            _rename(target, beside / "replaced", target)
        _rename(fresh, target, target)


@contextmanager
def temporary_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `target`, and so on the same file system.

    Raise OutputError if it can't be created.
    """
    try:
        directory = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        message = f"can't write to {target.parent}: {error.strerror}"
        raise OutputError(message, path=target.parent) from None
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _with_name(target: Path) -> Path:
    """Return `target` as a path whose last component is a name, not `.` or `..`."""
    return target.resolve() if target.name in {"", ".."} else target


def _check_replaceable(target: Path, marker: str) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir() or target.is_symlink():
        message = f"{target} exists and is not a directory; remove it or name another"
        raise OutputError(message, path=target)
    if any(target.iterdir()) and not (target / marker).exists():
        message = f"{target} exists and is not an earlier output (it has no {marker}); name another"
        raise OutputError(message, path=target)


def _rename(path: Path, new_path: Path, target: Path) -> None:
    """Rename `path`, or raise OutputError about the output `target`."""
    try:
        path.replace(new_path)
    except OSError as error:
        message = f"can't put {target} in place: {error.strerror}"
        raise OutputError(message, path=target) from None
