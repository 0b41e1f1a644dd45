"""Extended headers: members that precede another one, with what does not fit into its header.

The format is that of POSIX.1-2008, pax, "pax Extended Header".
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from nixdock.tar.fields import BLANK_CHECKSUM, BLOCK, USTAR, text_field, with_checksum
from nixdock.tar.kinds import Kind

__all__ = ["WIDTH", "extended_header", "extension", "extension_size", "pax_record"]

WIDTH: Final = 100
"""The length in bytes of the longest name and target that need no extended header."""

_NAME: Final = b"path"
_TARGET: Final = b"linkpath"


def extended_header(records: Iterable[bytes]) -> bytes:
    """Return an extended header with `records`."""
    payload = b"".join(records)
    header = with_checksum(
        text_field("././@PaxHeader", WIDTH)
        + b"0000000\0" * 3
        + b"%011o\0%011o\0" % (len(payload), 0)
        + BLANK_CHECKSUM
        + Kind.PAX
        + bytes(WIDTH)
        + USTAR
        + bytes(64 + 16 + 155 + 12)
    )
    return header + payload + bytes(-len(payload) % BLOCK)


def pax_record(key: bytes, value: bytes) -> bytes:
    """Return a record, which begins with its own length."""
    length = len(key) + len(value) + len(b" =\n")
    digits = len(str(length))
    length += digits + (len(str(length + digits)) > digits)
    return b"%d %b=%b\n" % (length, key, value)


def extension(name: bytes, target: bytes) -> bytes:
    """Return the extended header of a member of which these, in ASCII, are all that may be long."""
    name, target = _long(name), _long(target)
    before, between, after = _parts(len(name), len(target))
    return before + name + between + target + after


def extension_size(name: bytes, target: bytes) -> int:
    """Return the size in bytes of what `extension` returns."""
    name, target = _long(name), _long(target)
    return sum(map(len, (*_parts(len(name), len(target)), name, target)))


def _long(text: bytes) -> bytes:
    """Return what of a name or target stands in an extended header: all of it, or nothing."""
    return text if len(text) > WIDTH else b""


@lru_cache(maxsize=4096)
def _parts(name_size: int, target_size: int) -> tuple[bytes, bytes, bytes]:
    """Return what an extended header has before, between and after a name and a target.

    One with the size 0 has no record.
    """
    sizes = ((_NAME, name_size), (_TARGET, target_size))
    member = extended_header(pax_record(key, bytes(size)) for key, size in sizes if size)
    name_at = member.index(b"=") + 1 if name_size else 0
    rest = member[name_at + name_size :]
    target_at = rest.index(b"=") + 1 if target_size else 0
    return member[:name_at], rest[:target_at], rest[target_at + target_size :]
