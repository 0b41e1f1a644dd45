"""An image's files in a tar that is never unpacked."""

from __future__ import annotations

import io
import os
import posixpath
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nixdock.errors import ImageError, InputError
from nixdock.layers.decompression import MOST_EXPANDED, DecompressedReader
from nixdock.layers.hashed import CHUNK, buffered
from nixdock.oci.coding import MAGIC_SIZE, Coding, coding_of
from nixdock.read.directory import Directory
from nixdock.read.members import _MOST_FILES, Members, _missing
from nixdock.read.problem import Complain, Problem, pass_on
from nixdock.system.file_range import Range
from nixdock.system.text import shown
from nixdock.tar.fields import BLOCK
from nixdock.tar.kinds import Kind
from nixdock.tar.names import normalised
from nixdock.tar.reader import TarReader

if TYPE_CHECKING:
    pass

__all__ = ["Archive", "open_members"]


# A tar's first header: its checksum in octal digits and, since POSIX, its magic.
_TAR_START: Final = re.compile(rb".{148}[ 0-7]{5,7}[\0 ]{1,3}.{101}|.{257}ustar", re.DOTALL)


class Archive:
    """The members of a tar, read from a file descriptor, which it closes.

    A link, hard or symbolic, stands for the file that it names in the same archive; a link to a
    link stands for nothing. Names that stand twice are problems; the first one counts.
    """

    def __init__(self, descriptor: int, complain: Complain) -> None:
        self._descriptor = descriptor
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        size = os.fstat(descriptor).st_size
        try:
            self._scan(buffered(Range(descriptor, 0, size)), complain)
        except ImageError as error:
            try:
                pass_on(error, "archive", complain)
            except BaseException:
                os.close(descriptor)
                raise

    def _scan(self, stream: io.BufferedReader, complain: Complain) -> None:
        for member in TarReader(stream):
            try:
                name = os.fsdecode(normalised(member.name))
            except ImageError as error:
                pass_on(error, "archive", complain)
                continue
            if name in self._files or name in self._links:
                complain(Problem("archive", f"{shown(name)!r} stands twice in it"))
            elif member.kind == Kind.FILE:
                self._files[name] = (member.offset, member.size)
            elif member.kind in {Kind.SYMLINK, Kind.HARD_LINK}:
                base = posixpath.dirname(name) if member.kind == Kind.SYMLINK else ""
                self._links[name] = posixpath.join(base, os.fsdecode(member.target))
            if len(self._files) + len(self._links) > _MOST_FILES:
                raise ImageError(f"it holds more than {_MOST_FILES} files: not an image")

    def __contains__(self, name: str) -> bool:
        return name in self._files or name in self._links

    def __iter__(self) -> Iterator[str]:
        return iter([*self._files, *self._links])

    def same(self, name: str) -> str:
        """Return the name of the file that `name` is or links to."""
        if name in self._files:
            return name
        if name not in self._links:
            raise _missing(name)
        target = posixpath.normpath(self._links[name])
        if target not in self._files:
            raise ImageError(
                f"{shown(name)} is a link to {shown(target)}, which is no file in the archive"
            )
        return target

    def size(self, name: str) -> int:
        """Return the size in bytes."""
        return self._files[self.same(name)][1]

    def open(self, name: str) -> io.RawIOBase:
        """Open a view of the archive's file."""
        return self.open_range(name)

    def open_range(self, name: str) -> Range:
        """Open a view of the archive's file for reading anywhere in it."""
        return Range(self._descriptor, *self._files[self.same(name)])

    def close(self) -> None:
        """Close the file: nothing that was opened can be read from then on."""
        os.close(self._descriptor)


def open_members(path: Path, complain: Complain) -> Members:
    """Open a directory or a tar, which may be compressed as a whole.

    A compressed tar is expanded once, into a temporary file without a name. Raise InputError when
    there is nothing at `path`, or nothing of the kind.
    """
    try:
        if path.is_dir():
            return Directory(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"can't open {path}: {error.strerror}") from None
    try:
        seekable = _seekable(descriptor, complain)
    finally:
        os.close(descriptor)
    if not _TAR_START.match(os.pread(seekable, BLOCK, 0)):
        os.close(seekable)
        raise InputError(f"{path} is not an image: it is neither a directory nor a tar")
    return Archive(seekable, complain)


def _seekable(descriptor: int, complain: Complain) -> int:
    """Return a new descriptor of the archive, uncompressed and in a regular file."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        with tempfile.TemporaryFile(buffering=0) as file:
            _copy(io.FileIO(descriptor, closefd=False), file.fileno())
            return _seekable(file.fileno(), complain)
    coding = coding_of(os.pread(descriptor, MAGIC_SIZE, 0))
    if coding is Coding.NONE:
        return os.dup(descriptor)
    packed = Range(descriptor, 0, os.fstat(descriptor).st_size)
    with tempfile.TemporaryFile(buffering=0) as file:
        try:
            _copy(DecompressedReader(packed, coding, "it"), file.fileno())
        except ImageError as error:
            pass_on(error, "archive", complain)
        return os.dup(file.fileno())


def _copy(stream: io.RawIOBase, descriptor: int) -> None:
    size = 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if size > MOST_EXPANDED:
            raise ImageError(f"it has more than {MOST_EXPANDED} bytes")
        while chunk:
            chunk = chunk[os.write(descriptor, chunk) :]
