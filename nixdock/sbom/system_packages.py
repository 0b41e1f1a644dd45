"""The packages of distributions: the databases of dpkg, apk and rpm, and os-release."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from nixdock.errors import ImageError
from nixdock.read.tree import MergedTree
from nixdock.sbom.bill import BasePart, SystemPackage
from nixdock.sbom.rpm import RPM_DATABASES, RPM_DIRECTORIES, RPM_SQLITE, rpm_packages
from nixdock.sbom.unknown_format import UnknownFormatError
from nixdock.system.text import shown
from nixdock.tar.kinds import Kind

__all__ = ["read_base_part"]

_DPKG: Final = b"var/lib/dpkg/status"
# Images without a package manager have a file for each package.
_DPKG_PARTS: Final = b"var/lib/dpkg/status.d"
_APK: Final = (b"lib/apk/db/installed", b"usr/lib/apk/db/installed")
_OS_RELEASE: Final = (b"etc/os-release", b"usr/lib/os-release")
_UNREAD: Final = "no database of dpkg, apk or rpm was found in its layers"

_MOST_BYTES: Final = 256 << 20
# NAME, or NAME (VERSION).
_DPKG_SOURCE: Final = re.compile(r"(\S+)(?: \((\S+)\))?")


def read_base_part(tree: MergedTree, diff_ids: tuple[str, ...]) -> BasePart:
    """Return what the layers with `diff_ids`, which `tree` has merged, contain.

    Databases whose format is not known are left out, and named. Raise ImageError if one of a known
    format is too large or is damaged.
    """
    release = _os_release(tree)
    found = _Found(tree)
    for name in (_DPKG, *_names_in(tree, _DPKG_PARTS)):
        # Beside the description of a package, a file with its checksums may lie.
        if not name.endswith(b".md5sums"):
            found.add(name, _dpkg_packages)
    for name in _APK:
        found.add(name, _apk_packages)
    for directory in RPM_DIRECTORIES:
        found.add_rpm(directory)
    return BasePart(
        diff_ids=diff_ids,
        distribution=release.get("ID", ""),
        release=release.get("VERSION_ID", ""),
        title=release.get("PRETTY_NAME", ""),
        packages=tuple(_distinct(found.packages)),
        unread="; ".join(found.unknown) or ("" if found.read else _UNREAD),
    )


@dataclass(slots=True)
class _Found:
    """The packages that were found, and why databases were left out; `read` says if any was not."""

    tree: MergedTree
    packages: set[SystemPackage] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    read: bool = False

    def add(self, name: bytes, packages_in: Callable[[bytes], Iterable[SystemPackage]]) -> bool:
        """Add the packages in a file; return whether there is such a file."""
        data = _contents(self.tree, name)
        if data is None:
            return False
        try:
            self.packages.update(packages_in(data))
            self.read = True
        except UnknownFormatError as error:
            self.unknown.append(f"{_place(name)} has a format that is not known: {error}")
        return True

    def add_rpm(self, directory: bytes) -> None:
        """Add the packages of the database that rpm would open."""
        for name in RPM_DATABASES:
            file = directory + b"/" + name
            log = _contents(self.tree, file + b"-wal") if name == RPM_SQLITE else None
            if self.add(file, partial(rpm_packages, name, log=log, place=_place(file))):
                return


def _distinct(packages: Iterable[SystemPackage]) -> Iterable[SystemPackage]:
    """Return packages, sorted, each once, although several databases may describe it differently.

    The last in the order stays, where one with an empty text comes before one with another.
    """
    return {
        (each.kind, each.name, each.version, each.architecture, each.epoch): each
        for each in sorted(packages)
    }.values()


def _names_in(tree: MergedTree, directory: bytes) -> Iterator[bytes]:
    node = tree.lookup(directory, follow=True)
    return (directory + b"/" + name for name in sorted(node.children if node else ()))


def _contents(tree: MergedTree, name: bytes) -> bytes | None:
    """Return the contents of a regular file, or None if there is none with that name."""
    node = tree.lookup(name, follow=True)
    if node is None or node.kind != Kind.FILE:
        return None
    if node.size > _MOST_BYTES:
        place = _place(name)
        raise ImageError(
            f"{place} has {node.size} bytes, but may have at most {_MOST_BYTES}", place=place
        )
    with tree.open(node) as stream:
        return stream.read()


def _place(name: bytes) -> str:
    return shown(b"/" + name)


def _os_release(tree: MergedTree) -> dict[str, str]:
    for name in _OS_RELEASE:
        if (data := _contents(tree, name)) is not None:
            pairs = (line.partition("=") for line in _lines(data))
            return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    return {}


def _lines(data: bytes) -> list[str]:
    # Not str.splitlines, which also splits at characters that these formats don't know.
    return data.decode("utf-8", "replace").split("\n")


def _stanzas(data: bytes) -> Iterator[dict[str, str]]:
    """Yield the fields of each paragraph: `Key: value`; lines that continue a value are left out.

    dpkg's keys do not depend on case, and apk's, of one letter, do. Raise UnknownFormatError unless
    it is text.
    """
    if b"\0" in data:
        raise UnknownFormatError("it is no text")
    fields: dict[str, str] = {}
    for line in [*_lines(data), ""]:
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif not line[0].isspace():
            key, colon, value = line.partition(":")
            if colon:
                name = key if len(key) == 1 else key.lower()
                fields.setdefault(name, " ".join(value.split()))


def _dpkg_packages(data: bytes) -> Iterator[SystemPackage]:
    for fields in _stanzas(data):
        # A package that was removed may have left its configuration.
        status = fields.get("status", "install ok installed").split()
        if _has_name(fields, "package", "version") and status[-1:] == ["installed"]:
            source = _DPKG_SOURCE.match(fields.get("source", ""))
            yield SystemPackage(
                kind="deb",
                name=fields["package"],
                version=fields["version"],
                architecture=fields.get("architecture", ""),
                source="@".join(filter(None, source.groups())) if source else "",
                homepage=fields.get("homepage", ""),
                description=fields.get("description", ""),
            )


def _apk_packages(data: bytes) -> Iterator[SystemPackage]:
    for fields in _stanzas(data):
        if _has_name(fields, "P", "V"):
            source = fields.get("o", "")
            yield SystemPackage(
                kind="apk",
                name=fields["P"],
                version=fields["V"],
                architecture=fields.get("A", ""),
                source="" if source == fields["P"] else source,
                license=fields.get("L", ""),
                homepage=fields.get("U", ""),
                description=fields.get("T", ""),
            )


def _has_name(fields: Mapping[str, str], *keys: str) -> bool:
    return all(fields.get(key) for key in keys)
