"""Writing deterministic tar archives of file trees.

The bytes are those of CPython's `tarfile` in its PAX format: members depth first, in the order of
their names as text, hard links as whole files, the end padded to records of 10240 bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from nixdock.errors import PackError
from nixdock.system.buffers import BUFFER_SIZE, BufferPool, Write
from nixdock.system.text import path_text
from nixdock.tar.fields import BLOCK, RECORD, padded_size
from nixdock.tar.header import Entry, Headers
from nixdock.tar.kinds import Kind

__all__ = ["write_end", "write_members", "write_tar"]

# What was a file when its tree was walked may be a link or a FIFO by now: neither is waited for.
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


_POOL: Final = BufferPool()


def write_tar(entries: Iterable[Entry], headers: Headers, write: Write) -> int:
    """Write a whole archive of `entries` and return its size in bytes.

    Raise PackError if a file is not, to the byte, what its entry says.
    """
    return write_end(write_members(entries, headers, write), write)


def write_end(size: int, write: Write) -> int:
    """Write the end of an archive whose members took `size` bytes, and return its whole size."""
    whole = padded_size(size)
    write(memoryview(_ZEROS)[: whole - size])
    return whole


def write_members(entries: Iterable[Entry], headers: Headers, write: Write) -> int:
    """Write a part of an archive, as `write_tar` does, and return the size of its members."""
    buffer = _POOL.free_buffer()
    at = 0
    total = 0
    for entry in entries:
        header = headers.encode(entry)
        size = entry.size
        # One byte more than the file: reading it tells that the file grew without another system
        # call. There is always room for it, and for the padding, within a block.
        if at + len(header) + size + BLOCK > BUFFER_SIZE:
            if at:
                write(buffer[:at])
                total += at
                buffer = _POOL.free_buffer()
                at = 0
            if len(header) + size + BLOCK > BUFFER_SIZE:
                for filled in _fill(entry, header, buffer):
                    write(filled)
                    total += len(filled)
                buffer = _POOL.free_buffer()
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


def _fill(entry: Entry, header: bytes, buffer: memoryview) -> Iterator[memoryview]:
    """Yield buffers filled with `header`, a file that does not fit into one, and its padding."""
    at = len(header)
    buffer[:at] = header
    left = entry.size
    try:
        descriptor = os.open(entry.source, _OPEN)
        try:
            while left:
                if at == BUFFER_SIZE:
                    yield buffer
                    buffer, at = _POOL.free_buffer(), 0
                count = os.readv(descriptor, [buffer[at : min(at + left, BUFFER_SIZE)]])
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
        return PackError(f"{path_text(entry.source)} vanished while its layer was packed")
    return PackError(f"can't read {path_text(entry.source)}: {error.strerror}")


def _size_error(entry: Entry, *, grew: bool) -> PackError:
    change = "grew" if grew else "shrank"
    return PackError(
        f"{path_text(entry.source)} {change} while its layer was packed: it had {entry.size} bytes;"
        " nothing may write to what is being packed"
    )
