"""The headers of rpm, of which every form of its database has one for each package.

A header is two big-endian numbers, of the entries of its index and of the bytes of its data; then
the entries, each of four numbers: tag, type, offset of the value in the data, and count.
"""

from __future__ import annotations

import struct
from typing import Final

from nixdock.sbom.bill import SystemPackage

__all__ = ["MOST_HEADER", "package_of"]

MOST_HEADER: Final = 64 << 20
"""The bytes that a header may have."""

_NAME, _VERSION, _RELEASE, _EPOCH, _SUMMARY = 1000, 1001, 1002, 1003, 1004
_LICENSE, _URL, _ARCH, _SOURCE = 1014, 1020, 1022, 1044
_WANTED: Final = frozenset(
    {_NAME, _VERSION, _RELEASE, _EPOCH, _SUMMARY, _LICENSE, _URL, _ARCH, _SOURCE}
)
# Far more than a summary or a licence has.
_MOST_TEXT: Final = 1 << 20
_INT32, _STRING, _I18N_STRING = 4, 6, 9
_ENTRY: Final = struct.Struct(">4I")
_NUMBERS: Final = struct.Struct(">2I")
# Keys with which packages are signed are packages, too.
_KEY: Final = "gpg-pubkey"


def package_of(header: bytes) -> SystemPackage | None:
    """Return the package that a header describes, or None if that is a key or has no name.

    Raise ValueError if the header is damaged.
    """
    try:
        fields = _fields(header)
    except struct.error as error:
        raise ValueError(f"a header is damaged: {error}") from None
    if fields.get(_NAME, _KEY) in {"", _KEY}:
        return None
    version = f"{fields.get(_VERSION, '')}-{fields.get(_RELEASE, '')}".strip("-")
    return SystemPackage(
        kind="rpm",
        name=fields[_NAME],
        version=version,
        architecture=fields.get(_ARCH, ""),
        source=fields.get(_SOURCE, ""),
        license=fields.get(_LICENSE, ""),
        homepage=fields.get(_URL, ""),
        description=fields.get(_SUMMARY, ""),
        epoch=fields.get(_EPOCH, ""),
    )


def _fields(header: bytes) -> dict[int, str]:
    """Return the first value of each tag that is known."""
    count, size = _NUMBERS.unpack_from(header)
    start = _NUMBERS.size + count * _ENTRY.size
    data = header[start : start + size]
    if len(data) != size:
        raise ValueError("a header is too short")
    fields: dict[int, str] = {}
    left = size
    for position in range(_NUMBERS.size, start, _ENTRY.size):
        tag, kind, offset, _ = _ENTRY.unpack_from(header, position)
        # A hostile index could name one long text a million times.
        if tag not in _WANTED or tag in fields:
            continue
        if kind == _INT32:
            fields[tag] = str(struct.unpack_from(">I", data, offset)[0])
        elif kind in {_STRING, _I18N_STRING}:
            end = data.find(b"\0", offset, offset + _MOST_TEXT + 1)
            if end < 0:
                raise ValueError(f"text {tag} of a header has no end in {_MOST_TEXT} bytes")
            # Texts that overlap would need more memory than the file.
            left -= end - offset
            if left < 0:
                raise ValueError("texts of a header overlap")
            fields[tag] = " ".join(data[offset:end].decode("utf-8", "replace").split())
    return fields
