"""Whether there is a file or directory, as far as this process may see.

The methods of `Path` raise PermissionError before Python 3.14 if a directory on the way can't be
searched. These functions return False; whoever opens the path then gets the error.
"""

from __future__ import annotations

import os
import stat
from typing import TypeAlias

__all__ = ["exists", "is_directory", "is_file", "is_link", "is_pipe"]

_Path: TypeAlias = "str | os.PathLike[str]"


def exists(path: _Path) -> bool:
    """Tell whether there is anything at `path`; a symlink that leads nowhere is nothing."""
    return os.path.exists(path)  # noqa: PTH110 (the module says why)


def is_directory(path: _Path) -> bool:
    """Tell whether there is a directory at `path`, or a symlink to one."""
    return os.path.isdir(path)  # noqa: PTH112 (the same)


def is_file(path: _Path) -> bool:
    """Tell whether there is a regular file at `path`, or a symlink to one."""
    return os.path.isfile(path)  # noqa: PTH113 (the same)


def is_link(path: _Path) -> bool:
    """Tell whether there is a symlink at `path`."""
    return os.path.islink(path)  # noqa: PTH114 (the same)


def is_pipe(path: _Path) -> bool:
    """Tell whether there is a pipe at `path`, such as a FIFO, or a symlink to one."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116 (the same)
    except (OSError, ValueError):
        return False
