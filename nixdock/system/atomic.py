"""Outputs that appear whole or not at all: a temporary name beside the target, then a rename."""

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
    """Write to an open descriptor, such as a pipe; errors become OutputErrors."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # A larger pipe, where it is one and the limit allows it: fewer switches to its reader.
            with suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    def write(self, data: memoryview | bytes) -> None:
        """Write all of `data`."""
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, memoryview(data)[written:])
        except BrokenPipeError:
            raise OutputError(f"the reader of {self._name} closed it before the end") from None
        except OSError as error:
            raise OutputError(f"can't write {self._name}: {error.strerror}") from None


class FileWriter(StreamWriter):
    """Create or truncate `file` and write to it."""

    def __init__(self, file: Path) -> None:
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputError(f"can't write {file}: {error.strerror}") from None
        super().__init__(descriptor, str(file))
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
    """Give a writer whose file becomes `target` when the block ends without an error.

    A device or a FIFO, also behind a link such as /dev/stdout, is written to, not replaced.
    """
    target = _named(target)
    if target.is_dir() and not target.is_symlink():
        raise OutputError(f"{target} is a directory; name a file")
    if target.exists() and not target.is_file() and not target.is_dir():
        with FileWriter(target) as writer:
            yield writer
        return
    with temporary_directory(target) as beside, FileWriter(beside / target.name) as writer:
        yield writer
        _replace(writer.file, target)


@contextmanager
def whole_directory(target: Path, marker: str) -> Iterator[Path]:
    """Give an empty directory that becomes `target` when the block ends without an error.

    A directory that stands there already is replaced if it is empty or holds a file `marker`,
    which tells that it is an earlier output; anything else raises OutputError.
    """
    target = _named(target)
    _check_replaceable(target, marker)
    with temporary_directory(target) as beside:
        fresh = beside / target.name
        fresh.mkdir()
        yield fresh
        if target.is_dir():
            _replace(target, beside / "replaced")
        _replace(fresh, target)


@contextmanager
def temporary_directory(target: Path) -> Iterator[Path]:
    """Give a directory beside `target`, on the same file system, that is gone afterwards."""
    try:
        directory = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise OutputError(f"can't write to {target.parent}: {error.strerror}") from None
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _named(target: Path) -> Path:
    """Return `target` by a name of its own, which `.` and `..` are not."""
    return target.resolve() if target.name in {"", ".."} else target


def _check_replaceable(target: Path, marker: str) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir() or target.is_symlink():
        raise OutputError(f"{target} exists and is not a directory; remove it or name another")
    if any(target.iterdir()) and not (target / marker).exists():
        raise OutputError(
            f"{target} exists and is not an earlier output (it has no {marker}); name another"
        )


def _replace(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        raise OutputError(f"can't put {target} in place: {error.strerror}") from None
