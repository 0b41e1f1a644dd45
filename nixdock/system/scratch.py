"""Temporary directories, which the next run removes if a process can't.

All of nixdock's are made here, so that none is left behind for good.
"""

from __future__ import annotations

import fcntl
import io
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nixdock.errors import OutputError
from nixdock.system.mounts import is_mount_point
from nixdock.system.presence import exists, is_directory, is_file
from nixdock.system.removal import remove_tree
from nixdock.system.renaming import put_back
from nixdock.system.termination import termination_held
from nixdock.system.writers import descriptor_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["is_stream", "is_temporary", "temporary_directory", "temporary_file"]

log = logging.getLogger(__name__)

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A name may have 255 bytes, and the directory's has a dot, a suffix and random characters as well.
_MOST_NAME: Final = 200
# What others make in the shared directory must not look like a leftover: the name is unusual.
_PREFIX: Final = "nixdock-scratch-"
_RANDOM: Final = re.compile("[a-z0-9_]{8}", re.ASCII)
_BESIDE: Final = re.compile(r"\..*\.nixdock-[a-z0-9_]{8}", re.ASCII | re.DOTALL)


def is_stream(target: Path) -> bool:
    """Return whether `target` is written to and not replaced: a descriptor, device or FIFO."""
    if descriptor_of(target) is not None:
        return True
    return exists(target) and not is_file(target) and not is_directory(target)


def is_temporary(name: str) -> bool:
    """Return whether a directory beside an output, with that name, is of `temporary_directory`."""
    return _BESIDE.fullmatch(name) is not None


@contextmanager
def temporary_directory(target: Path | None = None) -> Iterator[Path]:
    """Yield a new directory, and remove it at the end with all that is in it by then.

    It is beside `target`, and so on the same file system; within it if something is mounted there;
    or in the system's directory for temporary files if there is no target or it is a stream.
    Directories of the same kind that a
    killed process has left there are removed first. Raise OutputError if the directory can't be
    created.
    """
    from tempfile import gettempdir  # noqa: PLC0415 (slow to load)

    if target is not None and is_stream(target):
        target = None
    if target is None:
        parent, prefix = Path(gettempdir()), _PREFIX
        _remove_shared_leftovers(parent)
    else:
        parent = target if is_mount_point(target) else target.parent
        prefix = f".{os.fsdecode(os.fsencode(target.name)[:_MOST_NAME])}.nixdock-"
        _remove_leftovers(parent, prefix, target)
    made: tuple[Path, int] | None = None
    try:
        # A signal that comes meanwhile ends the block only when it is known what to remove.
        with termination_held():
            made = _made(parent, prefix)
        yield made[0]
    finally:
        if made is not None:
            directory, lock = made
            _remove(directory, lock, target)
            os.close(lock)


class _NamelessFile(io.FileIO):
    """A file without a name in the system's directory for temporary files."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            from tempfile import gettempdir  # noqa: PLC0415 (slow to load)

            directory = gettempdir()
            message = (
                f"can't write a temporary file in {directory}: {error.strerror}; TMPDIR can name"
                " another directory"
            )
            raise OutputError(message, path=directory) from None


def temporary_file() -> io.FileIO:
    """Return a new file without a name, whose space is free again once it is closed.

    Writing to it raises OutputError if it can't be written.
    """
    from tempfile import TemporaryFile  # noqa: PLC0415 (slow to load)

    # On some file systems, as with NFS, it has a name at first: no signal may come before that is
    # removed.
    with termination_held(), TemporaryFile(buffering=0) as file:
        return _NamelessFile(os.dup(file.fileno()), "r+b")


def _made(parent: Path, prefix: str) -> tuple[Path, int]:
    try:
        return _locked_directory(parent, prefix)
    except OSError as error:
        message = f"can't write to {parent}: {error.strerror}"
        raise OutputError(message, path=parent) from None


def _locked_directory(parent: Path, prefix: str) -> tuple[Path, int]:
    """Create a directory and lock it for as long as this process, or a fork of it, lives."""
    from tempfile import mkdtemp  # noqa: PLC0415 (slow to load)

    while True:
        directory = Path(mkdtemp(prefix=prefix, dir=parent))
        try:
            # Before it is locked, another process may take the directory for a leftover.
            with suppress(FileNotFoundError):
                lock = os.open(directory, _OPEN)
                # On a file system without locks, nobody can lock the directory, so nobody removes
                # it.
                with suppress(OSError):
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if exists(directory):
                    return directory, lock
                os.close(lock)
        except BaseException:
            # A signal may end the process here, too.
            with suppress(OSError):
                directory.rmdir()
            raise


@cache
def _remove_shared_leftovers(parent: Path) -> None:
    """Remove leftovers that are not beside an output, once in a process: the directory is large."""
    _remove_leftovers(parent, _PREFIX, None)


def _remove_leftovers(parent: Path, prefix: str, target: Path | None) -> None:
    """Remove the directories of processes that are gone: those that are not locked."""
    with suppress(OSError):
        for name in os.listdir(parent):
            if name.startswith(prefix) and _RANDOM.fullmatch(name, len(prefix)):
                with suppress(OSError):
                    _remove_leftover(parent / name, target)


def _remove_leftover(directory: Path, target: Path | None) -> None:
    lock = os.open(directory, _OPEN)
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(directory, lock, target)
    finally:
        os.close(lock)


def _remove(directory: Path, lock: int, target: Path | None) -> None:
    """Remove a directory that is open as `lock`, unless a replaced output can't be put back."""
    if target is None or put_back(target, directory):
        remove_tree(directory, lock)
    else:
        log.warning("%s is missing; the earlier one is below %s", target, directory)
