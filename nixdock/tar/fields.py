"""The fields of tar headers, for reading and for writing: blocks, numbers and checksums.

The format is ustar (POSIX.1-2008, pax, "ustar Interchange Format") with GNU's base-256 numbers.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

__all__ = [
    "BLOCK",
    "CHECKSUM",
    "RECORD",
    "XATTR_PREFIX",
    "ascii_sum",
    "padded_size",
    "parse_number",
]

BLOCK: Final = 512
"""The size of a header, and the unit to which contents are padded, in bytes."""

RECORD: Final = 10240
"""The unit to which a whole archive is padded, in bytes."""

CHECKSUM: Final = slice(148, 156)
"""Where the checksum stands in a header; it counts its own bytes as spaces."""

XATTR_PREFIX: Final = b"SCHILY.xattr."
"""What the key of an extended attribute starts with in a PAX record."""

_OCTAL: Final = re.compile(rb"[0-7]+")


def padded_size(size: int) -> int:
    """Return the size of an archive whose members take `size` bytes."""
    return size + 2 * BLOCK + -(size + 2 * BLOCK) % RECORD


def ascii_sum(data: bytes) -> int:
    """Return the sum of at most 511 ASCII bytes, much faster than Python adds them up.

    The sum stays below the modulus of Adler-32, whose lower half is then that sum plus one.
    """
    return (zlib.adler32(data) & 0xFFFF) - 1


def parse_number(field: bytes) -> int | None:
    """Return the number in a field, in octal digits or GNU's base-256; None if it has neither."""
    if field[0] & 0x80:
        # Two's complement below the first bit.
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") - (1 << bits)
        return value - (1 << bits) if field[0] & 0x40 else value
    digits = field.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    return int(digits, 8) if _OCTAL.fullmatch(digits) else None
