"""What a NAR has for each file of its tree."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["NarEntry", "NarKind"]

NarKind = Literal["regular", "directory", "symlink"]


class NarEntry(NamedTuple):
    """A file, directory or symlink; `path` is relative to the root, whose own path is empty.

    `size` is that of a file in bytes, and `target` that of a symlink. Both are bytes, as stored.
    """

    path: bytes
    kind: NarKind
    executable: bool = False
    size: int = 0
    target: bytes = b""
