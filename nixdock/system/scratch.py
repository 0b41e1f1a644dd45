"""Temporary directories beside an output, which the next run removes if a process can't."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from nixdock.errors import OutputError
from nixdock.system.renaming import put_back
from nixdock.system.writers import descriptor_of

__all__ = ["is_stream", "temporary_directory"]

log = logging.getLogger(__name__)

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A name may have 255 bytes, and the directory's has a dot, a suffix and random characters as well.
_MOST_NAME: Final = 200


def is_stream(target: Path) -> bool:
    """Return whether `target` is written to and not replaced: a descriptor, device or FIFO."""
    if descriptor_of(target) is not None:
        return True
    return target.exists() and not target.is_file() and not target.is_dir()


@contextmanager
def temporary_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `target`, and so on the same file system.

    For a stream, it is in the system's directory for temporary files. Directories for the same
    target that a killed process has left there are removed first. Raise OutputError if the
    directory can't be created.
    """
    parent = Path(tempfile.gettempdir()) if is_stream(target) else target.parent
    prefix = f".{os.fsdecode(os.fsencode(target.name)[:_MOST_NAME])}.nixdock-"
    _remove_leftovers(parent, prefix, target)
    try:
        directory, lock = _locked_directory(parent, prefix)
    except OSError as error:
        message = f"can't write to {parent}: {error.strerror}"
        raise OutputError(message, path=parent) from None
    try:
        yield directory
    finally:
        _remove(directory, target)
        os.close(lock)


def _locked_directory(parent: Path, prefix: str) -> tuple[Path, int]:
    """Create a directory and lock it for as long as this process, or a fork of it, lives."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Before it is locked, another process may take the directory for a leftover.
        with suppress(FileNotFoundError):
            lock = os.open(directory, _OPEN)
            # On a file system without locks, nobody can lock the directory, so nobody removes it.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            if directory.exists():
                return directory, lock
            os.close(lock)


def _remove_leftovers(parent: Path, prefix: str, target: Path) -> None:
    """Remove the directories of processes that are gone: those that are not locked."""
    with suppress(OSError):
        for name in os.listdir(parent):
            if name.startswith(prefix):
                with suppress(OSError):
                    _remove_leftover(parent / name, target)


def _remove_leftover(directory: Path, target: Path) -> None:
    lock = os.open(directory, _OPEN)
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(directory, target)
    finally:
        os.close(lock)


def _remove(directory: Path, target: Path) -> None:
    if put_back(target, directory):
        shutil.rmtree(directory, ignore_errors=True)
    else:
        log.warning("%s is missing; the earlier one is below %s", target, directory)
