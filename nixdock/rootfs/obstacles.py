"""Directories in a tree that is not trusted: a symlink in it could lead out of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

__all__ = [
    "find_obstacle",
    "make_directories",
    "make_directory",
    "make_top_directory",
    "parent_within",
]

_MODE: Final = 0o755
_DEFAULT_ACL: Final = "system.posix_acl_default"


def find_obstacle(top: Path, path: str) -> Path | None:
    """Return the first part of `path` below `top` that is a symlink, or exists as a file.

    If there is none, return None: `path` can be made and used as a directory within `top`.
    """
    current = top
    for part in path.strip("/").split("/"):
        current = current / part
        if current.is_symlink() or (current.exists() and not current.is_dir()):
            return current
    return None


@contextmanager
def parent_within(top: Path, path: Path) -> Iterator[int]:
    """Yield a descriptor of the directory of `path`, which is below `top`.

    Raise OSError if there is none now, or if a part of its path below `top` is a symlink.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(top, flags)
    try:
        for part in path.parent.relative_to(top).parts:
            child = os.open(part, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = child
        yield descriptor
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory with the mode that it has in images, whatever the umask is.

    A parent that gives its group to new files, such as a TMPDIR, would have it do so, too.
    """
    path.mkdir()
    path.chmod(_MODE)


def make_top_directory(path: Path) -> None:
    """Make a directory in which others make files with the modes that they have in images.

    Without the default ACL of its parent, which would take the place of the umask.
    """
    make_directory(path)
    if sys.platform == "linux":
        # Hardly any directory has one.
        with suppress(OSError):
            os.removexattr(path, _DEFAULT_ACL)


def make_directories(path: Path) -> None:
    """Make a directory and its parents, where they do not exist, however many they are."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        make_directory(directory)
