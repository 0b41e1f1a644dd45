"""The databases that are text, those of dpkg and apk, and os-release.

They are read line by line, and only what is wanted of a line is kept: a database of many short
lines takes no more memory than its bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import Final

from nixdock.sbom.bill import SystemPackage
from nixdock.sbom.unknown_format import UnknownFormatError

__all__ = ["apk_packages", "dpkg_packages", "os_release"]

# Far more than a licence or the line of a description has.
_MOST_VALUE: Final = 1 << 20
_DPKG_KEYS: Final = frozenset(
    {b"package", b"status", b"version", b"source", b"architecture", b"homepage", b"description"}
)
_APK_KEYS: Final = frozenset({b"P", b"V", b"A", b"o", b"L", b"U", b"T"})
_OS_RELEASE_KEYS: Final = frozenset({"ID", "VERSION_ID", "PRETTY_NAME"})
# The states in which no file of a package is there. In all others, also that of an installation
# that was not finished, files are.
_WITHOUT_FILES: Final = frozenset({"not-installed", "config-files"})
# NAME, or NAME (VERSION).
_DPKG_SOURCE: Final = re.compile(r"(\S+)(?: \((\S+)\))?")


def os_release(data: bytes) -> dict[str, str]:
    """Return the values of ID, VERSION_ID and PRETTY_NAME, of those that are there."""
    found: dict[str, str] = {}
    for line in io.BytesIO(data):
        name, equals, value = line.decode("utf-8", "replace").partition("=")
        if equals and name.strip() in _OS_RELEASE_KEYS:
            found[name.strip()] = value.strip().strip("\"'")
    return found


def dpkg_packages(data: bytes) -> Iterator[SystemPackage]:
    """Yield the packages in a database of dpkg, or in a file of `status.d`.

    Raise UnknownFormatError if it is no text, and ValueError if a value is too long.
    """
    for fields in _stanzas(data, _DPKG_KEYS, ignore_case=True):
        *_, state = ["", *fields.get(b"status", "").split()]
        if _has_name(fields, b"package", b"version") and state not in _WITHOUT_FILES:
            source = _DPKG_SOURCE.match(fields.get(b"source", ""))
            yield SystemPackage(
                kind="deb",
                name=fields[b"package"],
                version=fields[b"version"],
                architecture=fields.get(b"architecture", ""),
                source="@".join(filter(None, source.groups())) if source else "",
                homepage=fields.get(b"homepage", ""),
                description=fields.get(b"description", ""),
            )


def apk_packages(data: bytes) -> Iterator[SystemPackage]:
    """Yield the packages in a database of apk, of the form before its version 3.

    Raise UnknownFormatError if it is no text, and ValueError if a value is too long.
    """
    for fields in _stanzas(data, _APK_KEYS, ignore_case=False):
        if _has_name(fields, b"P", b"V"):
            source = fields.get(b"o", "")
            yield SystemPackage(
                kind="apk",
                name=fields[b"P"],
                version=fields[b"V"],
                architecture=fields.get(b"A", ""),
                source="" if source == fields[b"P"] else source,
                license=fields.get(b"L", ""),
                homepage=fields.get(b"U", ""),
                description=fields.get(b"T", ""),
            )


def _stanzas(
    data: bytes, wanted: frozenset[bytes], *, ignore_case: bool
) -> Iterator[dict[bytes, str]]:
    """Yield the `wanted` fields of each paragraph of lines `Key: value`, the first of each key.

    Lines that continue a value are left out.
    """
    if b"\0" in data:
        raise UnknownFormatError("it is no text")
    fields: dict[bytes, str] = {}
    # Iterated over, a file has a line only where these formats have one, unlike splitlines.
    for line in io.BytesIO(data):
        if line.isspace():
            if fields:
                yield fields
                fields = {}
            continue
        # A line that continues a value starts with a space, and no key does.
        key, colon, value = line.partition(b":")
        key = key.lower() if ignore_case else key
        if colon and key in wanted and key not in fields:
            if len(value) > _MOST_VALUE:
                raise ValueError(f"a value has more than {_MOST_VALUE} bytes")
            fields[key] = " ".join(value.decode("utf-8", "replace").split())
    if fields:
        yield fields


def _has_name(fields: Mapping[bytes, str], *keys: bytes) -> bool:
    return all(fields.get(key) for key in keys)
