"""An image's files in a tar, read without unpacking it."""

from __future__ import annotations

import io
import os
import posixpath
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nixdock.coding.codings import MAGIC_SIZE, Coding, coding_of
from nixdock.coding.decompression import MOST_EXPANDED, DecompressedReader
from nixdock.errors import ImageError, InputError
from nixdock.layers.hashed import CHUNK, buffered
from nixdock.oci.layout import LAYOUT_DIRECTORIES
from nixdock.oci.location import registry_hint
from nixdock.read.directory import Directory
from nixdock.read.members import MOST_FILES, Members, check_is_image, missing_error
from nixdock.read.problem import Complain, Problem, pass_on
from nixdock.system.file_range import Range
from nixdock.system.presence import is_directory
from nixdock.system.scratch import temporary_file
from nixdock.system.text import shown
from nixdock.tar.fields import BLOCK
from nixdock.tar.kinds import Kind
from nixdock.tar.names import normalised
from nixdock.tar.reader import TarReader

__all__ = ["Archive", "open_members"]

# The start of a tar: a header with a checksum in octal digits, or with the magic of POSIX.
_TAR_START: Final = re.compile(rb".{148}[ 0-7]{5,7}[\0 ]{1,3}.{101}|.{257}ustar", re.DOTALL)


class Archive:
    """The members of a tar, read from a file descriptor, which `close` closes.

    A hard link or symlink is an alias of the regular file in the archive to which it points; links
    to links are not followed. A name that appears twice is a problem, and the first member counts.
    """

    def __init__(self, descriptor: int, complain: Complain, what: str = "the archive") -> None:
        self._descriptor = descriptor
        self._what = what
        self.directories: set[str] = set()
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
        reader = TarReader(stream, self._what)
        for member in reader:
            try:
                name = os.fsdecode(normalised(member.name))
            except ImageError as error:
                pass_on(error, "archive", complain)
                continue
            if name in self._files or name in self._links:
                complain(Problem("archive", f"the file {shown(name)!r} appears twice"))
            elif member.kind == Kind.DIRECTORY:
                self._add_directory(name)
            elif member.kind == Kind.FILE:
                self._files[name] = (member.offset, member.size)
            elif member.kind in {Kind.SYMLINK, Kind.HARD_LINK}:
                base = posixpath.dirname(name) if member.kind == Kind.SYMLINK else ""
                self._links[name] = posixpath.join(base, os.fsdecode(member.target))
            if len(self._files) + len(self._links) > MOST_FILES:
                raise ImageError(
                    f"the archive has more than {MOST_FILES} files: it is not an image"
                )
        for remark in reader.remarks:
            complain(Problem("archive", f"{self._what} is incomplete: {remark}", warning=True))

    def _add_directory(self, name: str) -> None:
        if name in LAYOUT_DIRECTORIES:
            self.directories.add(name)

    def __contains__(self, name: str) -> bool:
        return name in self._files or name in self._links

    def __iter__(self) -> Iterator[str]:
        return iter([*self._files, *self._links])

    def same(self, name: str) -> str:
        """Return `name`, or the name of the file to which the link `name` points.

        Raise ImageError if there is no such file.
        """
        if name in self._files:
            return name
        if name not in self._links:
            raise missing_error(name)
        target = posixpath.normpath(self._links[name])
        if target not in self._files:
            raise ImageError(
                f"{shown(name)} is a link to {shown(target)}, which is not a file in the archive",
                place=shown(name),
            )
        return target

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; raise ImageError if it is missing."""
        return self._files[self.same(name)][1]

    def start(self, name: str) -> bytes:
        """Return the first bytes of a file; raise ImageError if that is impossible."""
        with self.open(name) as stream:
            return stream.read(MAGIC_SIZE) or b""

    def open(self, name: str) -> io.RawIOBase:
        """Open a file for reading; raise ImageError if it is missing."""
        return self.open_range(name)

    def open_range(self, name: str) -> Range:
        """Open a file for reading at any position; raise ImageError if it is missing."""
        return Range(self._descriptor, *self._files[self.same(name)])

    def close(self) -> None:
        """Close the archive; files that were opened in it can't be read any more."""
        os.close(self._descriptor)


def open_members(path: Path, complain: Complain) -> Members:
    """Open an image in a directory or in a tar, which may be compressed as a whole.

    A compressed tar is decompressed once, into an unnamed temporary file. Raise InputError if
    `path` can't be opened or is neither a directory nor a tar, ImageError if it is damaged and
    `complain` raises.
    """
    try:
        if is_directory(path):
            return _open_directory(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        hint = registry_hint(path) if isinstance(error, FileNotFoundError) else ""
        raise InputError(f"can't open {path}: {error.strerror}{hint}", path=path) from None
    try:
        tar = _open_tar(descriptor, complain, str(path))
    finally:
        os.close(descriptor)
    start = os.pread(tar, BLOCK, 0)
    if not _TAR_START.match(start):
        os.close(tar)
        is_json = start.lstrip().startswith(b"{")
        advice = "; if it is a spec, nixdock build makes the image of it" if is_json else ""
        raise InputError(
            f"{path} is not an image: it is neither a directory nor a tar{advice}", path=path
        )
    return Archive(tar, complain, str(path))


def _open_directory(path: Path) -> Directory:
    try:
        with os.scandir(path) as entries:
            names = {entry.name for entry in entries}
    except OSError:
        # Where it can't be listed, whoever asks for a file gets the error.
        return Directory(path)
    # What is no image may be large, as a home directory is: none of its files is looked at.
    check_is_image(names, str(path))
    return Directory(path)


def _open_tar(descriptor: int, complain: Complain, what: str) -> int:
    """Return a new descriptor of a regular file with the uncompressed archive."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        with temporary_file() as file:
            _copy(io.FileIO(descriptor, closefd=False), file)
            return _open_tar(file.fileno(), complain, what)
    coding = coding_of(os.pread(descriptor, MAGIC_SIZE, 0))
    if coding is Coding.NONE:
        return os.dup(descriptor)
    compressed = Range(descriptor, 0, os.fstat(descriptor).st_size)
    with temporary_file() as file:
        try:
            stream = DecompressedReader(compressed, coding, what)
            _copy(stream, file)
            if stream.has_padding:
                complain(
                    Problem("archive", f"NUL bytes follow the gzip data in {what}", warning=True)
                )
        except ImageError as error:
            pass_on(error, "archive", complain)
        return os.dup(file.fileno())


def _copy(stream: io.RawIOBase, file: io.FileIO) -> None:
    size = 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if size > MOST_EXPANDED:
            raise ImageError(f"the archive has more than {MOST_EXPANDED} bytes")
        while chunk:
            chunk = chunk[file.write(chunk) :]
