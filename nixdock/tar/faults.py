"""The errors of trees that can't be packed, whichever packer finds them."""

from __future__ import annotations

import errno
import os

from nixdock.errors import PackError
from nixdock.system.text import path_text

__all__ = ["file_error", "size_error", "tree_error"]


def tree_error(source: bytes, number: int) -> PackError:
    """Return the error of a directory or link that can't be read, with its errno."""
    return _error(source, number, "its tree was read")


def file_error(source: bytes, number: int) -> PackError:
    """Return the error of a file whose contents can't be read, with its errno."""
    return _error(source, number, "its layer was packed")


def _error(source: bytes, number: int, doing: str) -> PackError:
    path = path_text(source)
    if number == errno.ENOENT:
        return PackError(f"{path} vanished while {doing}", path=path)
    if number == errno.ELOOP:
        return PackError(
            f"{path}, or a directory above it, became a symlink while {doing}", path=path
        )
    return PackError(f"can't read {path}: {os.strerror(number)}", path=path)


def size_error(source: bytes, size: int, *, grew: bool) -> PackError:
    """Return the error of a file that had `size` bytes when its header was written."""
    path = path_text(source)
    change = "grew" if grew else "shrank"
    return PackError(
        f"{path} {change} while its layer was packed: it had {size} bytes; no process may write to"
        " a file that is being packed",
        path=path,
    )
