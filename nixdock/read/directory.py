"""An image's files in a directory."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nixdock.errors import ImageError
from nixdock.read.members import _MOST_FILES, _OPEN, _missing
from nixdock.system.file_range import Range

if TYPE_CHECKING:
    pass

__all__ = ["Directory"]


class Directory:
    """The regular files below a directory; what links lead to outside of it is not there."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._sizes: dict[str, int] = {}
        for directory, _, names in os.walk(self._root):
            for name in names:
                path = Path(directory, name)
                if self._is_own_file(path):
                    relative = path.relative_to(self._root)
                    self._sizes[relative.as_posix()] = path.stat().st_size
            if len(self._sizes) > _MOST_FILES:
                raise ImageError(f"{root} holds more than {_MOST_FILES} files: not an image")

    def _is_own_file(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self._root) and path.is_file()
        except (OSError, RuntimeError):
            return False

    def __contains__(self, name: str) -> bool:
        return name in self._sizes

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def same(self, name: str) -> str:
        """Return the name itself: where a link leads makes no difference to its bytes."""
        return name

    def size(self, name: str) -> int:
        """Return the size that the file had when the directory was opened."""
        if name not in self._sizes:
            raise _missing(name)
        return self._sizes[name]

    def open(self, name: str) -> io.RawIOBase:
        """Open the file."""
        return io.FileIO(self._descriptor(name))

    def open_range(self, name: str) -> Range:
        """Open the file for reading anywhere in it."""
        descriptor = self._descriptor(name)
        return Range(descriptor, 0, os.fstat(descriptor).st_size, owner=True)

    def _descriptor(self, name: str) -> int:
        self.size(name)
        path = self._root / name
        try:
            return os.open(path, _OPEN)
        except OSError as error:
            raise ImageError(f"can't read {path}: {error.strerror}") from None

    def close(self) -> None:
        """Do nothing: each file has its own descriptor."""
