"""Removing trees that others have made, however deep they are."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["remove_tree"]

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(directory: Path, descriptor: int) -> None:
    """Remove `directory`, which is open as `descriptor`, as far as that is allowed.

    The tree may be deeper than Python's recursion limit, and its paths longer than the kernel
    accepts: every directory is opened from its parent, and the parent from it. No link is
    followed. A directory that has got another name stays.
    """
    with suppress(OSError):
        if not os.path.samestat(os.lstat(directory), os.fstat(descriptor)):
            return
        os.fchmod(descriptor, 0o700)
        _empty(os.open(".", _DIRECTORY, dir_fd=descriptor))
        directory.rmdir()


def _empty(current: int) -> None:
    """Remove all that is in the directory open as `current`, and close it."""
    try:
        # Invariant: `current` is the directory at the end of `names`, and `pending` has the
        # directories that are left in each directory from the top to it.
        names: list[str] = []
        pending = [_remove_files(current)]
        while True:
            if pending[-1]:
                name = pending[-1].pop()
                names.append(name)
                # A directory must be writable to be emptied.
                os.chmod(name, 0o700, dir_fd=current)
                following = os.open(name, _DIRECTORY, dir_fd=current)
            elif names:
                following = os.open("..", _DIRECTORY, dir_fd=current)
            else:
                return
            os.close(current)
            current = following
            if len(pending) == len(names):
                pending.append(_remove_files(current))
            else:
                pending.pop()
                os.rmdir(names.pop(), dir_fd=current)
    finally:
        os.close(current)


def _remove_files(directory: int) -> list[str]:
    """Remove the files in an open directory, and return the names of the directories in it."""
    with os.scandir(directory) as scan:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in scan]
    for name, is_directory in entries:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
    return [name for name, is_directory in entries if is_directory]
