"""Sparse files as GNU tar stores them with PAX records, in its forms 0.0, 0.1 and 1.0."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from nixdock.system.readers import ForwardReader
from nixdock.system.text import shown
from nixdock.tar.buffered_input import BufferedInput
from nixdock.tar.fields import BLOCK, SPARSE_MAP

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = [
    "Extents",
    "SparseReader",
    "check_extents",
    "is_sparse",
    "read_extents",
    "sparse_records",
]

Extents = tuple[tuple[int, int], ...]
"""The offset and the size in bytes of each part of a file that is stored, in ascending order."""

_MAJOR: Final = b"GNU.sparse.major"
_MINOR: Final = b"GNU.sparse.minor"
_NAME: Final = b"GNU.sparse.name"
_COUNT: Final = b"GNU.sparse.numblocks"
_SIZES: Final = (b"GNU.sparse.realsize", b"GNU.sparse.size")
_NUMBER: Final = re.compile(rb"[0-9]{1,19}")
_MOST_EXTENTS: Final = 100_000


class SparseReader(ForwardReader):
    """The `size` bytes of a sparse file, whose `extents` are in `stream`, with zeros elsewhere."""

    def __init__(self, stream: io.RawIOBase, size: int, extents: Extents) -> None:
        super().__init__(stream)
        # The pieces that are left, the next one last: zeros, or bytes of the stream.
        self._pieces: list[tuple[bool, int]] = []
        end = 0
        for offset, length in extents:
            self._pieces += [(False, offset - end), (True, length)]
            end = offset + length
        self._pieces.append((False, size - end))
        self._pieces.reverse()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        view = memoryview(buffer)
        while self._pieces:
            stored, left = self._pieces.pop()
            count = min(left, len(view))
            if not count:
                if left:
                    self._pieces.append((stored, left))
                    return 0
                continue
            if stored:
                count = self._stream.readinto(view[:count]) or 0
            else:
                view[:count] = bytes(count)
            if count < left:
                self._pieces.append((stored, left - count))
            return count
        return 0


def is_sparse(pax: Mapping[bytes, bytes]) -> bool:
    """Tell whether the records are those of a sparse file; raise ValueError if that is not clear.

    Without both numbers of the form, other readers take the file for an ordinary one.
    """
    if (_MAJOR in pax) != (_MINOR in pax):
        raise ValueError("its form is unknown")
    return _MAJOR in pax or SPARSE_MAP in pax


def sparse_records(pax: Mapping[bytes, bytes]) -> tuple[bytes | None, int, Extents | None]:
    """Return the name, the size and the extents of a sparse file.

    The name is None if it is that of the header, the extents are None if they are before the
    contents. Raise ValueError if a record is malformed or missing, or the form is unknown.
    """
    form = (pax.get(_MAJOR, b"0"), pax.get(_MINOR, b"1"))
    sizes = [pax[key] for key in _SIZES if key in pax]
    if form not in {(b"0", b"0"), (b"0", b"1"), (b"1", b"0")} or len(sizes) != 1:
        raise ValueError("its form is unknown")
    extents = None
    if form[0] != b"1":
        extents = _pairs(_numbers(pax.get(SPARSE_MAP, b"").split(b",")))
        # Go refuses other numbers, and files without one.
        count = pax.get(_COUNT)
        if count is None or _numbers([count]) != [len(extents)]:
            stated = "no number" if count is None else shown(count)
            raise ValueError(f"it has {len(extents)} extents, but states {stated}")
    return pax.get(_NAME), _numbers(sizes)[0], extents


def read_extents(data: BufferedInput, most: int) -> tuple[Extents, int]:
    """Read the extents before the contents; return them and how many of `most` bytes they take.

    Raise ValueError if they are malformed.
    """
    lines: list[bytes] = []
    rest = b""
    used = 0
    needed = 1
    while len(lines) < needed:
        block = data.read(BLOCK)
        used += BLOCK
        if used > most or len(block) != BLOCK:
            raise ValueError("it ends in the middle of its extents")
        *complete, rest = (rest + block).split(b"\n")
        if len(rest) > BLOCK:
            raise ValueError("its extents are not numbers")
        lines += complete
        if lines:
            count = _numbers(lines[:1])[0]
            if count > _MOST_EXTENTS:
                raise ValueError(f"it has more than {_MOST_EXTENTS} extents")
            needed = 1 + 2 * count
    return _pairs(_numbers(lines[1:needed])), used


def check_extents(extents: Extents, size: int, stored: int) -> None:
    """Raise ValueError unless `extents` are in order, within `size`, and have `stored` bytes."""
    end = 0
    for offset, length in extents:
        if offset < end or offset + length > size:
            raise ValueError("its extents overlap, or are beyond its end")
        end = offset + length
    total = sum(length for _, length in extents)
    if total != stored:
        raise ValueError(f"it has {stored} bytes of contents, but extents of {total}")


def _numbers(texts: Sequence[bytes]) -> list[int]:
    for text in texts:
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{shown(text, 50)!r} is not a number")
    return [int(text) for text in texts]


def _pairs(numbers: Sequence[int]) -> Extents:
    if len(numbers) % 2 or len(numbers) > 2 * _MOST_EXTENTS:
        raise ValueError("its extents are not pairs, or are too many")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
