"""The databases of rpm, in each of the three forms that it has had."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from nixdock.errors import ImageError
from nixdock.read.untrusted_sqlite import OtherDatabaseError, open_database
from nixdock.sbom.berkeley_db import hash_records
from nixdock.sbom.bill import SystemPackage
from nixdock.sbom.ndb import ndb_blobs
from nixdock.sbom.rpm_headers import MOST_HEADER, package_of
from nixdock.sbom.unknown_format import UnknownFormatError
from nixdock.system.scratch import temporary_directory
from nixdock.system.text import shown
from nixdock.system.writers import writing

__all__ = ["RPM_DATABASES", "RPM_DIRECTORIES", "RPM_SQLITE", "rpm_packages"]

RPM_DIRECTORIES: Final = (b"var/lib/rpm", b"usr/lib/sysimage/rpm")
"""Where distributions have the database."""

RPM_SQLITE: Final = b"rpmdb.sqlite"

_MOST_MESSAGE: Final = 500
_WHAT: Final = "an rpm database"


def rpm_packages(
    name: bytes, database: bytes, log: bytes | None, place: str
) -> Iterator[SystemPackage]:
    """Yield the packages in a database whose file has one of the names RPM_DATABASES.

    `log` is the write-ahead log of SQLite, if there is one, which has the latest changes. Raise
    UnknownFormatError if the file has another format than that name says, and ImageError about
    `place` if it is damaged.
    """
    if name == RPM_SQLITE:
        yield from _sqlite_packages(database, log, place)
        return
    try:
        yield from _packages(_HEADERS[name](database))
    except ValueError as error:
        message = shown(str(error), _MOST_MESSAGE)
        raise ImageError(f"{place} is not {_WHAT}: {message}", place=place) from None


def _packages(headers: Iterable[bytes]) -> Iterator[SystemPackage]:
    return (package for header in headers if (package := package_of(header)) is not None)


def _sqlite_packages(database: bytes, log: bytes | None, place: str) -> Iterator[SystemPackage]:
    with temporary_directory() as directory:
        file = directory / "rpmdb.sqlite"
        with writing(file):
            file.write_bytes(database)
            if log is not None:
                (directory / f"{file.name}-wal").write_bytes(log)
        try:
            with open_database(file, ["Packages"], _WHAT, place, most_value=MOST_HEADER) as rows:
                yield from _packages(header for (header,) in rows.of("select blob from Packages"))
        except OtherDatabaseError:
            raise UnknownFormatError("no SQLite database with the table Packages") from None


def _berkeley_db_headers(database: bytes) -> Iterator[bytes]:
    for key, value in hash_records(database, MOST_HEADER):
        if len(key) != 4:
            raise ValueError(f"a key has {len(key)} bytes, but those of packages have 4")
        # Under the number 0 is the last number that a package was given.
        if any(key):
            yield value


_HEADERS: Final[dict[bytes, Callable[[bytes], Iterator[bytes]]]] = {
    b"Packages.db": lambda database: ndb_blobs(database, MOST_HEADER),
    b"Packages": _berkeley_db_headers,
}

RPM_DATABASES: Final = (RPM_SQLITE, *_HEADERS)
"""The database's names, one for each form, in the order in which rpm looks for them."""
