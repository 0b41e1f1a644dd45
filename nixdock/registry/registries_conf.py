"""Where images are to be pulled from, as containers-registries.conf(5) has it.

Of that file only the tables `[[registry]]` count: nixdock knows no short names. Mirrors, other
locations and blocks are for pulling; `insecure` is for all requests.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from nixdock.errors import InputError
from nixdock.registry.auth_sources import home_directory
from nixdock.system.presence import is_file

__all__ = ["ETC", "Mirror", "RegistryTable", "parse_registries", "registry_tables"]

ETC: Final = Path("/etc/containers")
"""The directory with the configuration of the system."""

_VARIABLE: Final = "CONTAINERS_REGISTRIES_CONF"
_FILE: Final = "registries.conf"
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_PULLS: Final = {"": (True, True), "all": (True, True)} | {
    "digest-only": (True, False),
    "tag-only": (False, True),
}


class Mirror(Struct, frozen=True):
    """Another place that has the images below a prefix, if it is asked by digest, or by tag."""

    location: str
    insecure: bool = False
    by_digest: bool = True
    by_tag: bool = True


class RegistryTable(Struct, frozen=True):
    """What the configuration `file` says of the images whose names begin with `prefix`.

    They are at `location` in its place; it is empty if they are where their names say.
    """

    prefix: str
    file: Path
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()

    def matched(self, name: str) -> int:
        """Return how many bytes of an image's name the prefix stands for, or 0."""
        if self.prefix.startswith("*."):
            at = name.partition("/")[0].find(self.prefix[1:])
            end = at + len(self.prefix) - 1 if at >= 0 else 0
        else:
            end = len(self.prefix) if name.startswith(self.prefix) else 0
        return end if name[end : end + 1] in {"", ":", "/", "@"} else 0


def registry_tables(environment: Mapping[str, str], etc: Path = ETC) -> list[RegistryTable]:
    """Return the tables of the user's configuration, if there is one, or else of the system's.

    Files in the directory beside it add to it, and to the system's also those of the user: of
    tables with the same prefix, the last one counts. CONTAINERS_REGISTRIES_CONF names another file
    in place of either. Raise InputError if a file can't be read, or is not valid.
    """
    home = home_directory(environment)
    own = home / ".config/containers" if home is not None else None
    main, homes = etc / _FILE, [etc, *([own] if own is not None else [])]
    if explicit := environment.get(_VARIABLE):
        main = Path(explicit)
    elif own is not None and is_file(own / _FILE):
        main, homes = own / _FILE, [own]
    found = [(main, _read(main, is_needed=bool(explicit)))]
    for each in homes:
        found += [(file, _read(file)) for file in sorted((each / f"{_FILE}.d").glob("*.conf"))]
    tables: dict[str, RegistryTable] = {}
    for file, data in found:
        if data is not None:
            # Within a file, the first one counts.
            tables |= {table.prefix: table for table in parse_registries(data, file)[::-1]}
    return [tables[prefix] for prefix in sorted(tables)]


def _read(file: Path, *, is_needed: bool = False) -> bytes | None:
    """Return a file, or None if there is none and none is needed."""
    try:
        return file.read_bytes()
    except OSError as error:
        if error.errno in _ABSENT and not is_needed:
            return None
        raise InputError(f"can't read {file}: {error.strerror}", path=file) from None


def parse_registries(data: bytes, file: Path) -> list[RegistryTable]:
    """Parse the tables of a configuration; raise InputError if it is not valid."""
    import tomllib  # noqa: PLC0415 (used rarely)

    try:
        document = tomllib.loads(data.decode())
    except (UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{file} is not valid TOML: {error}", path=file) from None
    return [
        _table(_Fields(table, "registry", file)) for table in _tables(document, "registry", file)
    ]


def _tables(parent: Mapping[str, Any], key: str, file: Path) -> list[Mapping[str, Any]]:
    found = parent.get(key, [])
    if isinstance(found, list) and all(isinstance(each, dict) for each in found):
        return found
    raise InputError(f"{file}: {key} is not an array of tables, [[{key}]]", path=file)


class _Fields:
    """The fields of a table; what is missing is empty or false."""

    def __init__(self, table: Mapping[str, Any], name: str, file: Path) -> None:
        self.table = table
        self.name = name
        self.file = file

    def text(self, key: str) -> str:
        value = self.table.get(key, "")
        return value.rstrip("/") if isinstance(value, str) else self.refuse(key, "a string")

    def truth(self, key: str) -> bool:
        value = self.table.get(key, False)
        return value if isinstance(value, bool) else self.refuse(key, "true or false")

    def refuse(self, key: str, expected: str) -> Any:
        message = f"{self.file}: {key} of a [[{self.name}]] is not {expected}"
        raise InputError(message, path=self.file, key=key)


def _table(fields: _Fields) -> RegistryTable:
    location = fields.text("location")
    prefix = fields.text("prefix") or location
    if not prefix or (prefix.startswith("*.") and "/" in prefix):
        fields.refuse("prefix", "the start of an image's name, or *.DOMAIN")
    if not (location or prefix.startswith("*.")):
        fields.refuse("location", "the place of the images with this prefix")
    by_digest_only = fields.truth("mirror-by-digest-only")
    mirrors = [
        _mirror(_Fields(mirror, "registry.mirror", fields.file), by_digest_only=by_digest_only)
        for mirror in _tables(fields.table, "mirror", fields.file)
    ]
    return RegistryTable(
        prefix,
        fields.file,
        "" if location == prefix else location,
        fields.truth("insecure"),
        fields.truth("blocked"),
        tuple(mirrors),
    )


def _mirror(fields: _Fields, *, by_digest_only: bool) -> Mirror:
    pull = fields.text("pull-from-mirror")
    location = fields.text("location")
    if not location:
        fields.refuse("location", "the place of a mirror")
    if pull not in _PULLS:
        fields.refuse("pull-from-mirror", "all, digest-only or tag-only")
    by_digest, by_tag = _PULLS["digest-only" if by_digest_only else pull]
    return Mirror(location, fields.truth("insecure"), by_digest, by_tag)
