"""The members of an archive that holds an image: plain files with neutral owners."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nixdock.digest import Write
from nixdock.tar_header import BLOCK, Entry, Headers, Kind, MemberMeta, padded_size

__all__ = ["ArchiveWriter"]

_PADDING: Final = bytes(BLOCK)


class ArchiveWriter:
    """Write the members of a tar one by one; `finish` ends it."""

    def __init__(self, write: Write, mtime: int) -> None:
        self._write = write
        self._headers = Headers(MemberMeta(mtime=mtime))
        self._size = 0

    def add(self, name: str, data: bytes) -> None:
        """Add a file that holds `data`."""
        with self.member(name, len(data)) as write:
            write(data)

    @contextmanager
    def member(self, name: str, size: int) -> Iterator[Write]:
        """Add a file whose `size` bytes are written in the block, with what it is given."""
        header = self._headers.encode(Entry(name.encode(), Kind.FILE, 0o444, size))
        self._write(header)
        yield self._write
        padding = -size % BLOCK
        self._write(_PADDING[:padding])
        self._size += len(header) + size + padding

    def finish(self) -> None:
        """Write the end of the archive."""
        self._write(bytes(padded_size(self._size) - self._size))
