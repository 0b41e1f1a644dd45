"""Write the members of an image archive: files and symlinks with fixed modes and owners."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nixdock.layers.hashed import CHUNK
from nixdock.system.buffers import Write
from nixdock.tar.fields import BLOCK, padded_size
from nixdock.tar.header import Entry, Headers, MemberMeta
from nixdock.tar.kinds import Kind

__all__ = ["ArchiveWriter"]

_PADDING: Final = bytes(BLOCK)


class ArchiveWriter:
    """Writes a tar member by member; `finish` ends it."""

    def __init__(self, write: Write, mtime: int) -> None:
        self._write = write
        self._headers = Headers(MemberMeta(mtime=mtime))
        self._size = 0

    def add(self, name: str, data: bytes) -> None:
        """Add a file with the contents `data`."""
        with self.member(name, len(data)) as write:
            write(data)

    def add_file(self, name: str, file: Path, size: int) -> None:
        """Add a file with the contents of `file`, which must have `size` bytes."""
        with self.member(name, size) as write, file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                write(chunk)

    def add_directory(self, name: str) -> None:
        """Add a directory."""
        self._add_header(Entry(f"{name}/".encode(), Kind.DIRECTORY, 0o755))

    def link(self, name: str, target: str) -> None:
        """Add a symlink."""
        self._add_header(Entry(name.encode(), Kind.SYMLINK, 0o777, target=target.encode()))

    def _add_header(self, entry: Entry) -> None:
        header = self._headers.encode(entry)
        self._write(header)
        self._size += len(header)

    @contextmanager
    def member(self, name: str, size: int) -> Iterator[Write]:
        """Add a file; yield a function with which the block must write its `size` bytes."""
        header = self._headers.encode(Entry(name.encode(), Kind.FILE, 0o444, size))
        self._write(header)
        yield self._write
        padding = -size % BLOCK
        self._write(_PADDING[:padding])
        self._size += len(header) + size + padding

    def finish(self) -> None:
        """Write the end-of-archive marker."""
        self._write(bytes(padded_size(self._size) - self._size))
