"""Parsing the records of PAX extended headers (POSIX.1-2008, pax, "pax Extended Header")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from nixdock.system.text import shown
from nixdock.tar.fields import NUMBER_LIMIT, SPARSE_MAP, SPARSE_PAIR, XATTR_PREFIX

__all__ = ["parse_records", "record_integer", "record_time"]

_INTEGER: Final = re.compile(rb"-?[0-9]{1,19}")
_TEXTS: Final = frozenset({b"path", b"linkpath", b"uname", b"gname"})
_TIMES: Final = frozenset({b"atime", b"ctime"})
_TIME: Final = re.compile(rb"-?[0-9]{1,19}(\.[0-9]*)?")


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """Return the values of an extended header by key, without empty values.

    An empty value means that the field of the ustar header applies; only extended attributes may
    be empty. The extents of a sparse file in the form 0.0, whose keys are repeated, become a map as
    in the form 0.1. Raise ValueError if the records are malformed or another key appears twice.
    """
    records: dict[bytes, bytes] = {}
    extents: list[bytes] = []
    at = 0
    while at < len(data):
        # A record is b"LENGTH KEY=VALUE\n", and LENGTH counts the whole record.
        space = data.find(b" ", at, at + 10)
        digits = data[at : max(space, at)]
        end = at + int(digits) if digits.isdigit() else 0
        key, separator, value = data[space + 1 : end - 1].partition(b"=")
        if not (space < end - 1 < len(data) and data[end - 1] == 0x0A and separator and key):
            raise ValueError("an extended header does not consist of LENGTH KEY=VALUE records")
        at = end
        if key in SPARSE_PAIR:
            if key != SPARSE_PAIR[len(extents) % 2] or b"," in value:
                raise ValueError("the extents of a sparse file are not pairs")
            extents.append(value)
            continue
        if b"\0" in key or (key in _TEXTS and b"\0" in value):
            raise ValueError(f"the value of {shown(key)!r} in an extended header has a NUL")
        if key in _TIMES and value and not _TIME.fullmatch(value):
            raise ValueError(f"the {key.decode()} {shown(value)!r} is not a number")
        if key in records:
            raise ValueError(f"the key {shown(key)!r} appears twice in an extended header")
        records[key] = value
    if extents:
        records[SPARSE_MAP] = b",".join(extents)
    return {key: value for key, value in records.items() if value or key.startswith(XATTR_PREFIX)}


def record_integer(records: Mapping[bytes, bytes], key: bytes, default: int) -> int:
    """Return the decimal value of `key`; raise ValueError if it is not a number."""
    text = records.get(key)
    if text is None:
        return default
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"the {key.decode()} {shown(text)!r} is not a number")
    _check_range(key, text)
    return int(text)


def record_time(records: Mapping[bytes, bytes], default: float) -> float:
    """Return the mtime in seconds; raise ValueError if it is not a number.

    It is an int unless it has a decimal point: a float can't represent every second exactly.
    """
    text = records.get(b"mtime")
    if text is None:
        return default
    if not _TIME.fullmatch(text):
        raise ValueError(f"the mtime {shown(text)!r} is not a number")
    _check_range(b"mtime", text)
    return float(text) if b"." in text else int(text)


def _check_range(key: bytes, text: bytes) -> None:
    if not -NUMBER_LIMIT <= int(text.partition(b".")[0]) < NUMBER_LIMIT:
        raise ValueError(f"the {key.decode()} {shown(text)!r} is too large")
