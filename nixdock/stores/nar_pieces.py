"""NARs of store paths as the pieces of a tar, by the native packer where it is there.

The native packer stops before an entry that is not valid or not of the usual kinds. That one is
left to `NarReader`, and gets its header in Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nixdock.native.library import native_library
from nixdock.native.nar import NarStream
from nixdock.nix.store_path import StorePath
from nixdock.stores.nar_entries import entries_of_nar
from nixdock.stores.verified_nar import VerifiedNar
from nixdock.system.buffers import BUFFER_SIZE, BufferPool
from nixdock.tar.fields import BLOCK
from nixdock.tar.header import Headers
from nixdock.tar.write import member_pieces

__all__ = ["nar_pieces"]

_POOL: Final = BufferPool()
# Of this size and above, passing a file on by itself takes less than copying it into a buffer.
_LEAST_PASSED_ON: Final = 1 << 18
# With less room than this, a buffer is passed on. It is more than any header takes.
_LEAST_ROOM: Final = 1 << 17


def nar_pieces(nar: VerifiedNar, path: StorePath, headers: Headers) -> Iterator[memoryview]:
    """Yield the members of a store path whose NAR is read; a piece may be kept.

    Raise what `nar` raises, and PackError as `entries_of_nar` does.
    """
    template = headers.template
    if template is None or native_library() is None:
        yield from member_pieces(entries_of_nar(nar, path, nar), headers)
        return
    native = NarStream(template, path.encode())
    # buffer[start:at] is filled and not passed on yet.
    buffer, start, at = _POOL.free_buffer(), 0, 0
    while True:
        if BUFFER_SIZE - at < _LEAST_ROOM:
            yield buffer[start:at]
            buffer, start, at = _POOL.free_buffer(), 0, 0
        written = nar.members_into(buffer[at:], native)
        if not written:
            before = nar.last()
            found = nar.next_entry()
            if found is None:
                break
            (entry,) = entries_of_nar([found], path, nar, before)
            header = headers.encode(entry)
            written = len(header)
            buffer[at : at + written] = header
        at += written
        # The contents of the last file are not written yet, if there are any.
        size = nar.left
        if size >= _LEAST_PASSED_ON or at + size + BLOCK > BUFFER_SIZE:
            yield buffer[start:at]
            start = at
            while piece := nar.read(size):
                yield piece
        else:
            while piece := nar.read(size):
                buffer[at : at + len(piece)] = piece
                at += len(piece)
        padding = -size % BLOCK
        buffer[at : at + padding] = bytes(padding)
        at += padding
    if start < at:
        yield buffer[start:at]
