"""The database of rpm: a table of SQLite with a header of each package.

A header is two big-endian numbers, of the entries of its index and of the bytes of its data; then
the entries, each of four numbers: tag, type, offset of the value in the data, and count.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from nixdock.read.untrusted_sqlite import open_database
from nixdock.sbom.bill import SystemPackage
from nixdock.system.scratch import temporary_directory

__all__ = ["RPM_DATABASES", "rpm_packages"]

RPM_DATABASES: Final = (
    b"var/lib/rpm/rpmdb.sqlite",
    b"usr/lib/sysimage/rpm/rpmdb.sqlite",
)
"""Where distributions have the database."""

_NAME, _VERSION, _RELEASE, _EPOCH, _SUMMARY = 1000, 1001, 1002, 1003, 1004
_LICENSE, _URL, _ARCH, _SOURCE = 1014, 1020, 1022, 1044
_INT32, _STRING, _I18N_STRING = 4, 6, 9
_ENTRY: Final = struct.Struct(">4I")
_NUMBERS: Final = struct.Struct(">2I")
_MOST_HEADER: Final = 64 << 20
# Keys with which packages are signed are packages, too.
_KEY: Final = "gpg-pubkey"


def rpm_packages(database: bytes, log: bytes | None, place: str) -> Iterator[SystemPackage]:
    """Yield the packages in a database; raise ImageError about `place` if it is none.

    `log` is its write-ahead log, if there is one, which has the latest changes.
    """
    with temporary_directory() as directory:
        file = directory / "rpmdb.sqlite"
        file.write_bytes(database)
        if log is not None:
            (directory / f"{file.name}-wal").write_bytes(log)
        opened = open_database(
            file, ["Packages"], "an rpm database", place, most_value=_MOST_HEADER
        )
        with opened as rows:
            for (header,) in rows.of("select blob from Packages"):
                fields = _fields(header)
                if fields.get(_NAME) and fields[_NAME] != _KEY:
                    yield _package(fields)


def _package(fields: dict[int, str]) -> SystemPackage:
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
    """Return the first value of each tag that is known; raise ValueError if there is none."""
    try:
        return _read_fields(header)
    except struct.error as error:
        raise ValueError(f"a header is damaged: {error}") from None


def _read_fields(header: bytes) -> dict[int, str]:
    count, size = _NUMBERS.unpack_from(header)
    start = _NUMBERS.size + count * _ENTRY.size
    data = header[start : start + size]
    if len(data) != size:
        raise ValueError("a header is too short")
    wanted = {_NAME, _VERSION, _RELEASE, _EPOCH, _SUMMARY, _LICENSE, _URL, _ARCH, _SOURCE}
    fields: dict[int, str] = {}
    for position in range(_NUMBERS.size, start, _ENTRY.size):
        tag, kind, offset, _ = _ENTRY.unpack_from(header, position)
        if tag not in wanted:
            continue
        if kind == _INT32:
            fields[tag] = str(struct.unpack_from(">I", data, offset)[0])
        elif kind in {_STRING, _I18N_STRING}:
            text = data[offset : data.index(b"\0", offset)]
            fields[tag] = " ".join(text.decode("utf-8", "replace").split())
    return fields
