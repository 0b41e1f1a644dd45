"""Trees of files as the pieces of a tar, by the native packer where it is there.

The native packer stops before a member that is not of the usual kinds. The tree with that member is
then packed in Python from its start, without the bytes that are there already, and the native
packer goes on with the next tree.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import Final

from nixdock.errors import PackError
from nixdock.native.library import Place, native_library
from nixdock.native.trees import Fault, TreeStream
from nixdock.system.buffers import BUFFER_SIZE, BufferPool
from nixdock.system.opening import open_directory
from nixdock.system.text import path_text
from nixdock.tar.faults import file_error, size_error, tree_error
from nixdock.tar.fields import MAGIC
from nixdock.tar.header import Headers
from nixdock.tar.walk import Rename, walk
from nixdock.tar.write import member_pieces

__all__ = ["tree_pieces"]

_POOL: Final = BufferPool()
_MAGIC: Final = b"ustar"


def tree_pieces(
    directory: bytes,
    prefix: bytes,
    names: Sequence[bytes],
    headers: Headers,
    rename: Rename | None = None,
) -> Iterator[memoryview]:
    """Yield the bytes of the trees `names` in a directory as members of a tar, without its end.

    A member's name is `prefix`, which ends with a slash, and its path below the directory. A piece
    may be kept. `rename` is that of `walk`; it must change no names but those with the suffix of
    `nixdock.nix.case_hack`. Raise PackError as `walk` and `write_tar` do.
    """
    template = headers.template
    if template is None or native_library() is None:
        for name in names:
            yield from _in_python(directory, prefix, name, headers, rename)
        return
    try:
        parent = open_directory(os.path.realpath(directory))
    except OSError as error:
        raise tree_error(directory, error.errno or 0) from None
    try:
        left = list(names)
        while left:
            with TreeStream(template, parent, prefix, left) as stream:
                yield from _filled(stream)
                place = stream.place
                if place.fault == Fault.NONE:
                    return
                if place.fault != Fault.UNUSUAL:
                    raise _error(directory, prefix, place)
                begun, written = place.begun, place.written
            name = left[begun - 1]
            whole = _in_python(directory, prefix, name, headers, rename)
            yield from _without_start(whole, written, name)
            left = left[begun:]
    finally:
        os.close(parent)


def _filled(stream: TreeStream) -> Iterator[memoryview]:
    while True:
        buffer = _POOL.free_buffer()
        count = stream.readinto(buffer)
        if count:
            yield buffer[:count]
        if count < BUFFER_SIZE:
            return


def _in_python(
    directory: bytes, prefix: bytes, name: bytes, headers: Headers, rename: Rename | None
) -> Iterator[memoryview]:
    entries = walk(os.path.join(directory, name), prefix + name, rename)  # noqa: PTH118 (bytes)
    return member_pieces(entries, headers)


def _without_start(pieces: Iterator[memoryview], size: int, name: bytes) -> Iterator[memoryview]:
    """Yield the pieces without the first `size` bytes, after which a member must begin."""
    is_begun = False
    for piece in pieces:
        if size < len(piece):
            rest = piece[size:]
            if not is_begun and bytes(rest[MAGIC]) != _MAGIC:
                break
            is_begun = True
            yield rest
        size -= min(size, len(piece))
    if not is_begun:
        path = path_text(name)
        raise PackError(f"{path} changed while its layer was packed", path=path)


def _error(directory: bytes, prefix: bytes, place: Place) -> PackError:
    source = os.path.join(directory, place.name.removeprefix(prefix))  # noqa: PTH118 (bytes)
    number = place.number
    if number == errno.ENOTDIR and os.path.islink(source):  # noqa: PTH114 (bytes)
        number = errno.ELOOP
    match place.fault:
        case Fault.FILE:
            return file_error(source, number)
        case Fault.GREW | Fault.SHRANK:
            return size_error(source, place.file_size, grew=place.fault == Fault.GREW)
        case _:
            return tree_error(source, number)
