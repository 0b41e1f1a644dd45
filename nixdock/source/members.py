"""Named byte sources: the files of a directory, or the members of a tar that is never unpacked."""

from __future__ import annotations

import io
import os
import posixpath
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from nixdock.errors import ImageError, InputError
from nixdock.source.decompress import (
    MAGIC_SIZE,
    MOST_EXPANDED,
    Coding,
    DecompressedReader,
    coding_of,
)
from nixdock.source.hashed import CHUNK, buffered
from nixdock.source.names import normalised
from nixdock.source.problem import Complain, Problem, pass_on, shown
from nixdock.source.tar_reader import BLOCK, MemberKind, TarReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = [
    "Archive",
    "Directory",
    "Members",
    "Range",
    "member_name",
    "open_members",
    "read_whole",
]

_MOST_FILES: Final = 100_000
# A tar's first header: its checksum in octal digits and, since POSIX, its magic.
_TAR_START: Final = re.compile(rb".{148}[ 0-7]{5,7}[\0 ]{1,3}.{101}|.{257}ustar", re.DOTALL)
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Members(Protocol):
    """Files by their normalised names, with sizes in bytes; safe to read from several threads."""

    def __contains__(self, name: str) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def same(self, name: str) -> str:
        """Return the name of the file that `name` is, or is a link to; raise ImageError."""

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; raise ImageError if there is none."""

    def open(self, name: str) -> io.RawIOBase:
        """Open a file; raise ImageError if there is none."""

    def open_range(self, name: str) -> Range:
        """Open a file in which one can seek; raise ImageError if there is none."""

    def close(self) -> None:
        """Close what the files are read from."""


def member_name(text: str) -> str:
    """Normalise a name that a document gives; raise ImageError if it leads upwards."""
    return os.fsdecode(normalised(os.fsencode(text)))


def read_whole(members: Members, name: str, most: int) -> bytes:
    """Return a file's bytes; raise ImageError if there are more than `most` or it is missing."""
    size = members.size(name)
    if size > most:
        raise ImageError(f"{shown(name)} has {size} bytes, but may have at most {most}")
    with buffered(members.open(name)) as stream:
        data = stream.read(most + 1)
    if len(data) != size:
        raise ImageError(f"{shown(name)} changed while it was read")
    return data


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
            elif member.kind is MemberKind.FILE:
                self._files[name] = (member.offset, member.size)
            elif member.kind in {MemberKind.SYMLINK, MemberKind.HARD_LINK}:
                base = posixpath.dirname(name) if member.kind is MemberKind.SYMLINK else ""
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


class Range(io.RawIOBase):
    """A part of a file; does not move its position, nor close it unless it is its `owner`."""

    def __init__(self, descriptor: int, start: int, size: int, *, owner: bool = False) -> None:
        super().__init__()
        self.size = size
        self._owner = owner
        self._descriptor = descriptor
        self._start = start
        self._at = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def close(self) -> None:
        """Close the file as well, if it is the owner."""
        if self._owner and not self.closed:
            os.close(self._descriptor)
        super().close()

    def part(self, start: int, size: int) -> Range:
        """Return `size` bytes of it, from `start`, as a file of their own."""
        return Range(self._descriptor, self._start + start, size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        view = memoryview(buffer)
        left = max(0, self.size - self._at)
        count = os.preadv(self._descriptor, [view[:left]], self._start + self._at)
        self._at += count
        return count


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


def _missing(name: str) -> ImageError:
    return ImageError(f"{shown(name)} is missing")
