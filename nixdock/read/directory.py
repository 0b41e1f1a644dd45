"""An image's files in a directory."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from nixdock.coding.codings import MAGIC_SIZE
from nixdock.errors import ImageError, InputError
from nixdock.read.members import MOST_FILES, missing_error
from nixdock.system.file_range import Range

__all__ = ["Directory"]

# Not blocking: a FIFO may have taken the place of the file.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Directory:
    """The regular files below a directory; symlinks that lead out of it are ignored.

    What is in a directory that can't be read is not known: to ask for it raises InputError. The
    image may need none of it, as with the `lost+found` of a file system.
    """

    def __init__(self, root: Path) -> None:
        self._shown = root
        self._root = root.resolve()
        self._sizes: dict[str, int] = {}
        self._unreadable: dict[str, OSError] = {}
        for directory, _, names in os.walk(self._root, onerror=self._add_unreadable):
            for name in names:
                path = Path(directory, name)
                size = self._own_size(path)
                if size is not None:
                    self._sizes[self._name(path)] = size
            if len(self._sizes) > MOST_FILES:
                raise ImageError(
                    f"{root} has more than {MOST_FILES} files: it is not an image", path=root
                )

    def _own_size(self, path: Path) -> int | None:
        """Return the size of a file, or None if it is no regular one, leads out, or has gone."""
        try:
            state = path.stat()
            own = stat.S_ISREG(state.st_mode) and path.resolve().is_relative_to(self._root)
        except (OSError, RuntimeError):
            self._check_searched(path)
            return None
        return state.st_size if own else None

    def _check_searched(self, path: Path) -> None:
        """Note the directory of a file that is not even seen, because it can't be searched."""
        try:
            path.lstat()
        except OSError as error:
            error.filename = str(path.parent)
            self._add_unreadable(error)

    def _add_unreadable(self, error: OSError) -> None:
        # Another process may have removed it since its name was read.
        if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
            self._unreadable[self._name(Path(error.filename))] = error

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def __contains__(self, name: str) -> bool:
        if name in self._sizes:
            return True
        for parent in PurePosixPath(name).parents if self._unreadable else ():
            if error := self._unreadable.get(str(parent)):
                path = self._shown / parent
                raise InputError(f"can't read {path}: {error.strerror}", path=path)
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def same(self, name: str) -> str:
        """Return the name itself: reading a symlink gives the bytes of its target."""
        return name

    def size(self, name: str) -> int:
        """Return the size in bytes that the file had when the directory was opened."""
        if name not in self:
            raise missing_error(name)
        return self._sizes[name]

    def start(self, name: str) -> bytes:
        """Return the first bytes of a file; raise ImageError if that is impossible."""
        with self.open(name) as stream:
            return stream.read(MAGIC_SIZE) or b""

    def open(self, name: str) -> io.RawIOBase:
        """Open a file for reading; raise ImageError if it can't be opened."""
        return io.FileIO(self._descriptor(name))

    def open_range(self, name: str) -> Range:
        """Open a file for reading at any position; raise ImageError if it can't be opened."""
        descriptor = self._descriptor(name)
        return Range(descriptor, 0, os.fstat(descriptor).st_size, owner=True)

    def _descriptor(self, name: str) -> int:
        self.size(name)
        path = self._root / name
        try:
            return os.open(path, _OPEN_FLAGS)
        except OSError as error:
            raise ImageError(f"can't read {path}: {error.strerror}", path=path) from None

    def close(self) -> None:
        """Do nothing: each file has its own descriptor."""
