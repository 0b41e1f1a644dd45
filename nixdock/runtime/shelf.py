"""Files of blobs that are made when they are first asked for, within a bound."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nixdock.errors import OutputError
from nixdock.oci.digests import hex_of
from nixdock.system.file_range import Range

__all__ = ["MOST_ON_SHELF", "Shelf"]

MOST_ON_SHELF: Final = 4 << 30
"""How many bytes the files of blobs may have in all, unless a single blob has more."""


class Shelf:
    """The files in a directory, each named by the hexadecimal digits of its digest.

    Several threads may use it. No blob is made twice at the same time. Those that have not been
    opened for the longest time go when there would be more than `most` bytes; who has one open
    keeps it.
    """

    def __init__(self, directory: Path, most: int = MOST_ON_SHELF) -> None:
        self.directory = directory
        self._most = most
        # From the one that was opened first to the last.
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._reserved = 0
        self._lock = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._is_closed = False

    @classmethod
    def within(cls, directory: Path) -> Shelf:
        """Return a shelf that takes at most MOST_ON_SHELF, and half of the space that is free."""
        state = os.statvfs(directory)
        return cls(directory, min(MOST_ON_SHELF, state.f_bavail * state.f_frsize // 2))

    @property
    def room(self) -> int:
        """How many bytes fit without removing a file."""
        with self._lock:
            return max(0, self._most - self._total())

    def adopt(self, digest: str, size: int) -> None:
        """Take over a file that is in the directory already."""
        with self._lock:
            self._sizes[digest] = size
            self._trim(keep=digest)

    def open(self, digest: str, size: int, make: Callable[[Path], object]) -> io.RawIOBase:
        """Open a blob for reading; `make` writes it to a file if there is none.

        Raise what `make` raises, and OutputError if the file can't be read.
        """
        with self._lock:
            turn = self._turns[digest]
        with turn:
            with self._lock:
                if digest in self._sizes:
                    return self._opened(digest)
                self._reserved += size
                self._trim()
            part = self.directory / f".part-{hex_of(digest)}"
            try:
                make(part)
                with self._lock:
                    self._rename(part, digest)
                    self._sizes[digest] = size
                    return self._opened(digest)
            finally:
                with self._lock:
                    self._reserved -= size
                part.unlink(missing_ok=True)

    def close(self) -> None:
        """Let whoever is making a blob end soon; the caller removes the directory."""
        self._is_closed = True

    def check_open(self, _size: int = 0) -> None:
        """Raise OutputError if the shelf is closed: nobody waits for a blob any more."""
        if self._is_closed:
            raise OutputError("the server has ended")

    def _opened(self, digest: str) -> io.RawIOBase:
        self._sizes.move_to_end(digest)
        file = self._file(digest)
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            del self._sizes[digest]
            raise OutputError(f"can't read {file}: {error.strerror}", path=file) from None
        return Range(descriptor, 0, os.fstat(descriptor).st_size, owner=True)

    def _rename(self, part: Path, digest: str) -> None:
        file = self._file(digest)
        try:
            part.rename(file)
        except OSError as error:
            raise OutputError(f"can't write {file}: {error.strerror}", path=file) from None

    def _file(self, digest: str) -> Path:
        return self.directory / hex_of(digest)

    def _total(self) -> int:
        return sum(self._sizes.values()) + self._reserved

    def _trim(self, keep: str | None = None) -> None:
        for digest in [*self._sizes]:
            if self._total() <= self._most:
                return
            if digest != keep:
                del self._sizes[digest]
                self._file(digest).unlink(missing_ok=True)
