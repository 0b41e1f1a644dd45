"""The database that rpm calls ndb, which openSUSE and SLE have.

A file is blocks of 16 bytes, and all numbers are little-endian. The first pages, of 4,096 bytes,
have a header of two blocks and then slots of one: the magic number, the package's number, and the
first block and number of blocks of its blob. The blob is between a head, with the same number and
its size, and a tail, with its Adler-32 checksum and its size again; before the tail is padding.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from operator import itemgetter
from typing import Final

from nixdock.sbom.unknown_format import UnknownFormatError

__all__ = ["ndb_blobs"]

_MAGIC: Final = b"RpmP"
_BLOCK: Final = 16
_PAGE: Final = 4096
_HEADER: Final = struct.Struct("<4s4I12x")
_SLOT: Final = struct.Struct("<4s3I")
_HEAD: Final = struct.Struct("<4s3I")
_TAIL: Final = struct.Struct("<2I4s")


def ndb_blobs(data: bytes, most_blob: int) -> Iterator[bytes]:
    """Yield the blob of each package, in the order in which they are in the file.

    Raise UnknownFormatError if `data` is no such database, and ValueError if it is damaged or has a
    blob of over `most_blob` bytes. Blobs don't overlap, so all together are smaller than `data`.
    """
    if data[:4] != _MAGIC:
        raise UnknownFormatError("no database of the form ndb")
    if len(data) < _PAGE:
        raise ValueError("its first page is too short")
    _, version, _, pages, _ = _HEADER.unpack_from(data)
    if version:
        raise UnknownFormatError(f"version {version} of the form ndb")
    slots_end = pages * _PAGE
    if not pages or slots_end > len(data) or len(data) % _BLOCK:
        raise ValueError(f"it has {pages} pages of slots, but {len(data)} bytes")
    end = slots_end
    numbers: set[int] = set()
    for number, start, size in sorted(_slots(data, slots_end), key=itemgetter(1)):
        if start < end or start + size > len(data):
            raise ValueError(f"the blob of package {number} is not in its place in the file")
        if not number or number in numbers:
            raise ValueError(f"it has two slots of package {number}, or none may have that number")
        numbers.add(number)
        end = start + size
        yield _blob(data, number, start, end, most_blob)


def _slots(data: bytes, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, offset and size, in bytes, of each slot that is in use."""
    for position in range(_HEADER.size, end, _SLOT.size):
        magic, number, block, blocks = _SLOT.unpack_from(data, position)
        if magic != b"Slot":
            raise ValueError(f"the slot at byte {position} is damaged")
        if block:
            yield number, block * _BLOCK, blocks * _BLOCK


def _blob(data: bytes, number: int, start: int, end: int, most: int) -> bytes:
    """Return the blob whose head and tail are between `start` and `end`."""
    if end - start < _HEAD.size + _TAIL.size:
        raise ValueError(f"the blob of package {number} is too short")
    head, own, _, size = _HEAD.unpack_from(data, start)
    checksum, again, tail = _TAIL.unpack_from(data, end - _TAIL.size)
    blocks = -(-(_HEAD.size + size + _TAIL.size) // _BLOCK)
    if (head, own, tail, again) != (b"BlbS", number, b"BlbE", size):
        raise ValueError(f"the head or tail of the blob of package {number} is damaged")
    if size > most:
        raise ValueError(f"a blob has {size} bytes, but may have at most {most}")
    if blocks * _BLOCK != end - start:
        raise ValueError(f"the blob of package {number} has not the size that its slot tells")
    if zlib.adler32(memoryview(data)[start : end - _TAIL.size]) != checksum:
        raise ValueError(f"the blob of package {number} has another checksum")
    return data[start + _HEAD.size : start + _HEAD.size + size]
