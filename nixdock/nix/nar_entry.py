"""What a NAR has for each file of its tree."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["MOST_PATH", "NarEntry", "NarKind"]

MOST_PATH: Final = 1 << 14
"""How many bytes the path of a file in a NAR may have; Linux takes 4095.

Without a limit, the paths of nested directories would grow with the square of their number.
"""

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
