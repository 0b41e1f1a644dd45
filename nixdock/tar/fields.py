"""The fields of tar headers, shared by reading and writing: blocks, numbers and checksums.

The format is ustar (POSIX.1-2008, pax, "ustar Interchange Format") with GNU's base-256 numbers.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

__all__ = [
    "BLANK_CHECKSUM",
    "BLOCK",
    "CHECKSUM",
    "MAGIC",
    "NUMBER_LIMIT",
    "RECORD",
    "SPARSE_MAP",
    "SPARSE_PAIR",
    "USTAR",
    "XATTR_PREFIX",
    "ascii_sum",
    "padded_size",
    "parse_number",
    "text_field",
    "with_checksum",
]

BLOCK: Final = 512
"""The size of a header in bytes, and the multiple to which contents are padded."""

RECORD: Final = 10240
"""The multiple in bytes to which an archive is padded."""

CHECKSUM: Final = slice(148, 156)
"""The field of the checksum, which counts its own bytes as spaces."""

BLANK_CHECKSUM: Final = b"        "
"""What the checksum takes its own field for. A space remains, behind six digits and a NUL."""

MAGIC: Final = slice(257, 262)
"""The field with the name of the format, which begins with "ustar"."""

USTAR: Final = b"ustar\x0000"
"""That name, with its NUL, and the version."""

XATTR_PREFIX: Final = b"SCHILY.xattr."
"""The prefix of the keys of extended attributes in PAX records."""

NUMBER_LIMIT: Final = 1 << 63
"""What numbers are below: those that do not fit into 64 bits are refused by all runtimes."""

SPARSE_MAP: Final = b"GNU.sparse.map"
"""The key of the extents of a sparse file in PAX records (GNU tar's form 0.1)."""

SPARSE_PAIR: Final = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
"""The keys of each extent of a sparse file in PAX records (GNU tar's form 0.0)."""

# Go ignores what follows a NUL behind the digits. Only some readers look behind a NUL before them.
_OCTAL: Final = re.compile(rb"[ \0]*| *([0-7]+)(?:[ \0]*|\0.*)", re.DOTALL)


def padded_size(size: int) -> int:
    """Return the size in bytes of an archive whose members take `size` bytes."""
    return size + 2 * BLOCK + -(size + 2 * BLOCK) % RECORD


def ascii_sum(data: bytes) -> int:
    """Return the sum of at most 511 ASCII bytes, much faster than `sum` does.

    The sum is less than the modulus of Adler-32, so the lower half of that is the sum plus one.
    """
    return (zlib.adler32(data) & 0xFFFF) - 1


def text_field(value: str, width: int) -> bytes:
    """Return a field of `width` bytes with a text, cut off if it is too long."""
    return value.encode("ascii", "replace")[:width].ljust(width, b"\0")


def with_checksum(header: bytes) -> bytes:
    """Return a header, in which the checksum is blank, with its checksum."""
    return b"%b%06o\0%b" % (header[: CHECKSUM.start], sum(header), header[CHECKSUM.stop - 1 :])


def parse_number(field: bytes) -> int | None:
    """Parse octal digits or GNU's base-256; return None if `field` is neither, or is too large."""
    if field[0] & 0x80:
        # The first bit marks base-256; the others are a number in two's complement.
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") - (1 << bits)
        value -= (1 << bits) if field[0] & 0x40 else 0
        return value if -NUMBER_LIMIT <= value < NUMBER_LIMIT else None
    match = _OCTAL.fullmatch(field)
    return None if match is None else int(match[1] or b"0", 8)
