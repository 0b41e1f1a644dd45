"""Writing deterministic tar archives of file trees.

The bytes are the same as those of CPython's `tarfile` in its PAX format. Hard links are written as
whole files, and the end is padded to a multiple of 10240 bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from nixdock.errors import PackError
from nixdock.system.buffers import BUFFER_SIZE, BufferPool, Write
from nixdock.system.opening import open_file
from nixdock.system.text import path_text
from nixdock.tar.faults import file_error, size_error
from nixdock.tar.fields import BLOCK, RECORD, padded_size
from nixdock.tar.header import Content, Entry, Headers
from nixdock.tar.kinds import Kind

__all__ = ["end_of_tar", "member_pieces", "write_end", "write_members", "write_tar", "written"]

_POOL: Final = BufferPool()
_ZEROS: Final = bytes(RECORD + 2 * BLOCK)
# Of this size and above, passing a file on by itself takes less than copying it into a buffer.
_LEAST_PASSED_ON: Final = 1 << 16


def write_tar(entries: Iterable[Entry], headers: Headers, write: Write) -> int:
    """Write an archive of `entries` and return its size in bytes.

    Raise PackError if a file can't be read or does not have the size of its entry.
    """
    return write_end(write_members(entries, headers, write), write)


def write_members(entries: Iterable[Entry], headers: Headers, write: Write) -> int:
    """Write `entries` without the end of an archive, as `write_tar` does; return their size."""
    return written(member_pieces(entries, headers), write)


def write_end(size: int, write: Write) -> int:
    """Write the end of an archive whose members took `size` bytes; return the archive's size."""
    return size + written([end_of_tar(size)], write)


def end_of_tar(size: int) -> memoryview:
    """Return the end of an archive whose members took `size` bytes."""
    return memoryview(_ZEROS)[: padded_size(size) - size]


def written(pieces: Iterable[memoryview], write: Write) -> int:
    """Write all pieces and return their size in bytes."""
    size = 0
    for piece in pieces:
        write(piece)
        size += len(piece)
    return size


def member_pieces(entries: Iterable[Entry], headers: Headers) -> Iterator[memoryview]:
    """Yield the bytes of `entries`, without the end of an archive; a piece may be kept.

    Raise PackError as `write_tar` does.
    """
    buffer = _POOL.free_buffer()
    # buffer[:at] is filled and not passed on yet.
    at = 0
    for entry in entries:
        header = headers.encode(entry)
        size = entry.size
        content = entry.content
        passed_on = content if size >= _LEAST_PASSED_ON else None
        # Read one byte more than the file has, to notice without another system call that it grew.
        # The last term leaves room for that byte or the padding, which are at most a block.
        needed = len(header) + (size if passed_on is None else 0) + BLOCK
        if at + needed > BUFFER_SIZE:
            if at:
                yield buffer[:at]
                buffer = _POOL.free_buffer()
                at = 0
            if needed > BUFFER_SIZE:
                yield from _fill(entry, header, buffer)
                buffer = _POOL.free_buffer()
                continue
        end = at + len(header)
        buffer[at:end] = header
        at = end
        if entry.kind == Kind.FILE:
            if passed_on is not None:
                # What is in memory already, and is not small, takes less time without a copy.
                yield buffer[:at]
                yield from _pieces(entry, passed_on)
                buffer = _POOL.free_buffer()
                at = 0
            elif content is None:
                _read_file(entry, buffer[at : at + size + 1])
                at += size
            else:
                for piece in _pieces(entry, content):
                    buffer[at : at + len(piece)] = piece
                    at += len(piece)
            if padding := -size % BLOCK:
                buffer[at : at + padding] = _ZEROS[:padding]
                at += padding
    if at:
        yield buffer[:at]


def _read_file(entry: Entry, view: memoryview) -> None:
    """Read a whole file into `view`, which has one byte more than the file."""
    try:
        descriptor = open_file(entry.source)
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
        raise file_error(entry.source, error.errno or 0) from None
    if count != entry.size:
        raise size_error(entry.source, entry.size, grew=count > entry.size)


def _fill(entry: Entry, header: bytes, buffer: memoryview) -> Iterator[memoryview]:
    """Yield views with `header`, a file on disk that is too large for a buffer, and its padding."""
    at = len(header)
    buffer[:at] = header
    left = entry.size
    try:
        descriptor = open_file(entry.source)
        try:
            while left:
                if at == BUFFER_SIZE:
                    yield buffer
                    buffer, at = _POOL.free_buffer(), 0
                count = os.readv(descriptor, [buffer[at : min(at + left, BUFFER_SIZE)]])
                if not count:
                    raise size_error(entry.source, entry.size, grew=False)
                left -= count
                at += count
            if os.readv(descriptor, [bytearray(1)]):
                raise size_error(entry.source, entry.size, grew=True)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise file_error(entry.source, error.errno or 0) from None
    yield buffer[: at + _pad(entry, buffer, at)]


def _pad(entry: Entry, buffer: memoryview, at: int) -> int:
    """Write the padding of a file that ends at `at`, and return its size."""
    # Buffers and headers are multiples of BLOCK, so the padding fits into the last buffer.
    padding = -entry.size % BLOCK
    buffer[at : at + padding] = _ZEROS[:padding]
    return padding


def _pieces(entry: Entry, content: Content) -> Iterator[memoryview]:
    """Yield the contents of a file that is not on disk."""
    left = entry.size
    while left:
        piece = content.read(left)
        if not piece:
            name = path_text(entry.name)
            raise PackError(f"the contents of {name} are not there any more", path=name)
        left -= len(piece)
        yield piece
