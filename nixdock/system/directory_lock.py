"""Locks of directories, for processes that change what is in one at the same time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

__all__ = ["directory_lock"]

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def directory_lock(directory: Path, *, writing: bool) -> Iterator[None]:
    """Let no other process that locks a directory change it in the block.

    With `writing`, none reads it either. Without a directory, or where the file system has no
    locks, there is none.
    """
    descriptor = _locked(directory, fcntl.LOCK_EX if writing else fcntl.LOCK_SH)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(directory: Path, lock: int) -> int | None:
    while True:
        try:
            descriptor = os.open(directory, _OPEN)
        except OSError:
            return None
        try:
            with suppress(OSError):
                fcntl.flock(descriptor, lock)
            # Whoever had the lock may have put another directory in its place.
            with suppress(OSError):
                if os.path.samestat(os.fstat(descriptor), directory.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
