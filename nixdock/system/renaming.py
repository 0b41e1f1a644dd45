"""Renaming what is complete into its place: safe on disk first, and never without a way back."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

from nixdock.system.presence import exists, is_directory

__all__ = ["put_back", "put_directory", "put_files", "sync", "sync_tree"]

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_NO_EXCHANGE: Final = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}
_NO_SYNC: Final = {errno.EINVAL, errno.EOPNOTSUPP, errno.EROFS, errno.ENOSYS}
_REPLACED: Final = "replaced"


def sync(path: Path) -> None:
    """Wait until the file or directory `path` is on disk, where the file system can do that.

    It can't for a directory that may be written to but not read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        if is_directory(path):
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Wait until all files and directories at and below `directory` are on disk."""
    for parent, _, names in os.walk(directory, topdown=False, onerror=_fail):
        for name in names:
            sync(Path(parent, name))
        sync(Path(parent))


def put_directory(fresh: Path, target: Path, beside: Path) -> None:
    """Rename the directory `fresh` to `target`; an earlier directory ends up below `beside`.

    At every moment `target` or, where two directories can't be exchanged in one step, `put_back`
    gives the earlier directory or the fresh one. Raise OSError if that fails; the earlier directory
    is then in its place.
    """
    if not is_directory(target):
        fresh.rename(target)
        return
    if _exchange(fresh, target):
        return
    replaced = beside / _REPLACED / target.name
    replaced.parent.mkdir()
    try:
        target.rename(replaced)
        fresh.rename(target)
    except BaseException:
        put_back(target, beside)
        raise


def put_back(target: Path, beside: Path) -> bool:
    """Restore a directory that `put_directory` moved below `beside` if `target` is missing.

    Return whether nothing below `beside` is needed any longer.
    """
    replaced = beside / _REPLACED / target.name
    if not os.path.lexists(replaced) or os.path.lexists(target):
        return True
    with suppress(OSError):
        replaced.rename(target)
        return True
    return False


def put_files(fresh: Path, target: Path, last: str) -> None:
    """Rename the files below the directory `fresh`, which are on disk, to their names in `target`.

    The file `last` is renamed when all others are on disk there. Raise OSError if that fails;
    nothing that `target` did not have is then left, and its file `last` is the one that it had.
    """
    new: list[Path] = []
    try:
        for place in _rename_below(fresh, target, last, new):
            sync(place)
        (fresh / last).replace(target / last)
    except BaseException:
        # An interrupt may have come after the last step.
        if exists(fresh / last):
            for path in reversed(new):
                with suppress(OSError):
                    path.rmdir() if is_directory(path) else path.unlink()
        raise
    sync(target)


def _rename_below(fresh: Path, target: Path, last: str, new: list[Path]) -> list[Path]:
    """Rename all files but `last`, note what is new, and return the directories."""
    places = []
    for parent, directories, names in os.walk(fresh, onerror=_fail):
        place = target / Path(parent).relative_to(fresh)
        places.append(place)
        # The files come first: what marks the output is at the top.
        for name in (*names, *directories):
            source, path = Path(parent, name), place / name
            if source == fresh / last:
                continue
            if not os.path.lexists(path):
                new.append(path)
            if name in directories:
                path.mkdir(exist_ok=True)
            else:
                source.replace(path)
    return places


def _fail(error: OSError) -> NoReturn:
    raise error


def _exchange(path: Path, other: Path) -> bool:
    """Exchange two directories in one step; return False if the system can't."""
    function = _renameat2()
    if function is None:
        return False
    names = (os.fsencode(path), os.fsencode(other))
    if function(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), os.fspath(path), None, os.fspath(other))


@cache
def _renameat2() -> Any:
    """Return the C library's function, or None if there is none, as on other systems than Linux."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = [
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_uint,
        ]
    return function
