"""Deterministic tar archives of file trees: walking them, packing them, their padding.

The bytes are those of CPython's `tarfile` in its PAX format: members depth first, in the order of
their names as text, hard links as whole files, the end padded to records of 10240 bytes.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from typing import Final

from nixdock.errors import PackError
from nixdock.tar_header import BLOCK, RECORD, Entry, Headers, Kind, name_text, padded_size

__all__ = ["RING", "tar_size", "walk", "write_end", "write_members", "write_tar"]

_BUFFER: Final = 1 << 20
# Enough for two threads that each have one buffer in hand and one waiting.
RING: Final = 6
_TYPE: Final = 0o170000
# What was a file when its tree was walked may be a link or a FIFO by now: neither is waited for.
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def walk(source: bytes, name: bytes) -> Iterator[Entry]:
    """Yield the entries of the tree at `source`, as members named `name` and below it.

    Depth first, a directory before its contents, siblings in the order of their names as text.
    Symbolic links are entries of their own. Raise PackError for what a layer can't hold.
    """
    # The path at which a system call fails is in what it raises.
    try:
        root = _entry(source, name, os.lstat(source))
        yield root
        pending = [iter(_children(root))] if root.kind == Kind.DIRECTORY else []
        while pending:
            for entry in pending[-1]:
                yield entry
                if entry[1] == Kind.DIRECTORY:
                    pending.append(iter(_children(entry)))
                    break
            else:
                pending.pop()
    except FileNotFoundError as error:
        raise PackError(f"{_shown(error.filename)} vanished while its tree was read") from None
    except OSError as error:
        raise PackError(f"can't read {_shown(error.filename)}: {error.strerror}") from None


def _children(directory: Entry) -> list[Entry]:
    with os.scandir(directory.source) as scan:
        found = {child.name: child for child in scan}
    joined = b"/".join(found)
    if b".wh." in joined:
        _refuse_whiteouts(directory.source, found)
    names = sorted(found) if joined.isascii() else sorted(found, key=name_text)
    entries = []
    prefix = directory.name
    in_place = prefix == directory.source + b"/"
    for name in names:
        child = found[name]
        info = child.stat(follow_symlinks=False)
        mode = info.st_mode
        # Nearly all entries are files: no call for them.
        if mode & _TYPE == stat.S_IFREG:
            path = child.path
            # A store at its own place has the same names in the archive: one object for both.
            member = path if in_place else prefix + name
            entry = Entry(member, b"0", mode & 0o7777, info.st_size, b"", path)
        else:
            entry = _entry(child.path, prefix + name, info)
        entries.append(entry)
    return entries


def _entry(path: bytes, member: bytes, info: os.stat_result) -> Entry:
    mode = info.st_mode
    kind = mode & _TYPE
    if kind == stat.S_IFREG:
        return Entry(member, Kind.FILE, mode & 0o7777, info.st_size, b"", path)
    if kind == stat.S_IFLNK:
        return Entry(member, Kind.SYMLINK, mode & 0o7777, 0, os.readlink(path))
    if kind == stat.S_IFDIR:
        slashed = member if member.endswith(b"/") else member + b"/"
        return Entry(slashed, Kind.DIRECTORY, mode & 0o7777, 0, b"", path)
    if kind == stat.S_IFIFO:
        return Entry(member, Kind.FIFO, mode & 0o7777)
    raise PackError(f"{_shown(path)} is a device or a socket, which a layer can't hold")


def _refuse_whiteouts(directory: bytes, names: Iterable[bytes]) -> None:
    for name in sorted(names):
        if name.startswith(b".wh."):
            raise PackError(
                f"{_shown(directory + b'/' + name)} has the name of a whiteout: in a layer it would"
                " delete a file instead of being one; rename it or leave its store path out"
            )


def tar_size(entries: Iterable[Entry], headers: Headers) -> int:
    """Return how many bytes `write_tar` writes for `entries`."""
    return padded_size(sum(map(headers.member_size, entries)))


class _Buffers(threading.local):
    """A ring of buffers for each thread, for all its archives: new memory costs more than a read.

    The ring goes on from archive to archive, for the last buffers of one may still be in use.
    """

    def __init__(self) -> None:
        self.ring = cycle([memoryview(bytearray(_BUFFER)) for _ in range(RING)])


_BUFFERS: Final = _Buffers()


def write_tar(
    entries: Iterable[Entry], headers: Headers, write: Callable[[memoryview], object]
) -> int:
    """Write a whole archive of `entries` and return its size in bytes.

    `write` gets views of buffers that are used again, but not before RING - 2 further calls.
    Raise PackError when a file is not, to the byte, what its entry says.
    """
    return write_end(write_members(entries, headers, write), write)


def write_end(size: int, write: Callable[[memoryview], object]) -> int:
    """Write the end of an archive whose members took `size` bytes, and return its whole size."""
    whole = padded_size(size)
    write(memoryview(_ZEROS)[: whole - size])
    return whole


def write_members(
    entries: Iterable[Entry], headers: Headers, write: Callable[[memoryview], object]
) -> int:
    """Write a part of an archive, as `write_tar` does, and return the size of its members."""
    ring = _BUFFERS.ring
    buffer = next(ring)
    at = 0
    total = 0
    for entry in entries:
        header = headers.encode(entry)
        size = entry.size
        # One byte more than the file: reading it tells that the file grew without another system
        # call. There is always room for it, and for the padding, within a block.
        if at + len(header) + size + BLOCK > _BUFFER:
            if at:
                write(buffer[:at])
                total += at
                buffer = next(ring)
                at = 0
            if len(header) + size + BLOCK > _BUFFER:
                for filled in _fill(entry, header, buffer, ring):
                    write(filled)
                    total += len(filled)
                buffer = next(ring)
                continue
        end = at + len(header)
        buffer[at:end] = header
        at = end
        if entry.kind == Kind.FILE:
            _read_file(entry, buffer[at : at + size + 1])
            at += size
            if padding := -size % BLOCK:
                buffer[at : at + padding] = _ZEROS[:padding]
                at += padding
    if at:
        write(buffer[:at])
    return total + at


_ZEROS: Final = bytes(RECORD + 2 * BLOCK)


def _read_file(entry: Entry, view: memoryview) -> None:
    """Fill `view`, all but its last byte, with the whole file."""
    try:
        descriptor = os.open(entry.source, _OPEN)
        try:
            count = os.readv(descriptor, [view])
            while 0 < count < entry.size:
                more = os.readv(descriptor, [view[count:]])
                if not more:
                    break
                count += more
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _read_error(entry, error) from None
    if count != entry.size:
        raise _size_error(entry, grew=count > entry.size)


def _fill(
    entry: Entry, header: bytes, buffer: memoryview, ring: Iterator[memoryview]
) -> Iterator[memoryview]:
    """Yield buffers filled with `header`, a file that does not fit into one, and its padding."""
    at = len(header)
    buffer[:at] = header
    left = entry.size
    try:
        descriptor = os.open(entry.source, _OPEN)
        try:
            while left:
                if at == _BUFFER:
                    yield buffer
                    buffer, at = next(ring), 0
                count = os.readv(descriptor, [buffer[at : min(at + left, _BUFFER)]])
                if not count:
                    raise _size_error(entry, grew=False)
                left -= count
                at += count
            if os.readv(descriptor, [bytearray(1)]):
                raise _size_error(entry, grew=True)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _read_error(entry, error) from None
    # Buffers and headers are whole blocks, so the padding is within the last buffer.
    padding = -entry.size % BLOCK
    buffer[at : at + padding] = _ZEROS[:padding]
    yield buffer[: at + padding]


def _read_error(entry: Entry, error: OSError) -> PackError:
    if isinstance(error, FileNotFoundError):
        return PackError(f"{_shown(entry.source)} vanished while its layer was packed")
    return PackError(f"can't read {_shown(entry.source)}: {error.strerror}")


def _size_error(entry: Entry, *, grew: bool) -> PackError:
    change = "grew" if grew else "shrank"
    return PackError(
        f"{_shown(entry.source)} {change} while its layer was packed: it had {entry.size} bytes;"
        " nothing may write to what is being packed"
    )


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
