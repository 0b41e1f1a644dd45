"""Opening files of a tree that has been listed before, without following any symlink.

A path may lead elsewhere by the time it is opened: another process may have replaced a directory by
a symlink. Linux can refuse that in the same system call that opens the file.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Final

__all__ = ["open_directory", "open_file"]

# A file may have become a symlink or a FIFO since it was listed: do not follow or wait.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC

_OPENAT2: Final = 437
_AT_FDCWD: Final = -100
_RESOLVE_NO_SYMLINKS: Final = 4

_Open = Callable[[bytes], int]


def _opener(flags: int) -> _Open:
    """Return a function that opens a path with `flags`; it raises OSError.

    If a component of the path is a symlink, that is ELOOP. Where the system has no openat2, as
    before Linux 5.6 and on other systems, only the last component is checked.
    """

    def plain(path: bytes) -> int:
        return os.open(path, flags)

    # The number is that of all architectures but Alpha.
    if sys.platform != "linux" or os.uname().machine == "alpha":
        return plain
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    # Arguments that are C objects already, without `argtypes`, take the least time for each call.
    number, at = ctypes.c_long(_OPENAT2), ctypes.c_long(_AT_FDCWD)
    how = (ctypes.c_uint64 * 3)(flags, 0, _RESOLVE_NO_SYMLINKS)
    address, size = ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))

    def checked(path: bytes) -> int:
        descriptor: int = syscall(number, at, path, address, size)
        if descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
        return descriptor

    # A sandbox may refuse system calls that it does not know, with one error or another.
    try:
        os.close(checked(b"/"))
    except OSError:
        return plain
    return checked


open_file: Final[_Open] = _opener(_FILE)
"""Open a file for reading and return its descriptor; the path must not contain a symlink."""

open_directory: Final[_Open] = _opener(_DIRECTORY)
"""Open a directory and return its descriptor; the path must not contain a symlink."""
