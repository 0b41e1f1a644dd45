"""The packages of distributions: the databases of dpkg, apk and rpm, and os-release."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct, field
from msgspec.structs import astuple

from nixdock.errors import ImageError
from nixdock.read.tree import MergedTree
from nixdock.sbom.bill import BasePart, SystemPackage
from nixdock.sbom.rpm import RPM_DATABASES, RPM_DIRECTORIES, RPM_SQLITE, rpm_packages
from nixdock.sbom.text_databases import apk_packages, dpkg_packages, os_release
from nixdock.sbom.unknown_format import UnknownFormatError
from nixdock.system.text import shown
from nixdock.tar.kinds import Kind

__all__ = ["read_base_part"]

_DPKG: Final = b"var/lib/dpkg/status"
# Images without a package manager have a file for each package.
_DPKG_PARTS: Final = b"var/lib/dpkg/status.d"
_APK: Final = (b"lib/apk/db/installed", b"usr/lib/apk/db/installed")
_OS_RELEASE: Final = (b"etc/os-release", b"usr/lib/os-release")
_UNREAD: Final = "no database of dpkg, apk or rpm with a package was found in its layers"

# The bytes of a database of rpm, or of the log of one.
_MOST_RPM: Final = 256 << 20
# The bytes of all databases of dpkg and apk: a desktop's has 10 MB.
_MOST_DATABASES: Final = 64 << 20
_MOST_OS_RELEASE: Final = 64 << 10
# In all databases together: Debian has 70,000 packages. Their texts are several times in memory
# while a document is written.
_MOST_PACKAGES: Final = 100_000
_MOST_TEXT: Final = 32 << 20


def read_base_part(tree: MergedTree, diff_ids: tuple[str, ...]) -> BasePart:
    """Return what the layers with `diff_ids`, which `tree` has merged, contain.

    Databases whose format is not known are left out, and named. Raise ImageError if one of a known
    format is too large or is damaged, or if they have too many packages.
    """
    release = _os_release(tree)
    found = _Found(tree)
    found.add_text(_DPKG, dpkg_packages)
    for name in _dpkg_parts(tree):
        found.add_text(name, dpkg_packages, is_part=True)
    for name in _APK:
        found.add_text(name, apk_packages)
    for directory in RPM_DIRECTORIES:
        found.add_rpm(directory)
    return BasePart(
        diff_ids=diff_ids,
        distribution=release.get("ID", ""),
        release=release.get("VERSION_ID", ""),
        title=release.get("PRETTY_NAME", ""),
        packages=tuple(_distinct(found.packages)),
        unread="; ".join(found.unknown) or ("" if found.packages else _UNREAD),
        has_unknown=bool(found.unknown),
    )


class _Found(Struct):
    """The packages that were found, and why databases were left out.

    `text` counts the characters of all packages, and `database_bytes` the bytes of the databases of
    dpkg and apk.
    """

    tree: MergedTree
    packages: set[SystemPackage] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    text: int = 0
    database_bytes: int = 0

    def add_text(
        self,
        name: bytes,
        packages_in: Callable[[bytes], Iterable[SystemPackage]],
        *,
        is_part: bool = False,
    ) -> None:
        """Add the packages in a file of dpkg or apk, if there is one; a part need not have any."""
        data = _contents(
            self.tree,
            name,
            _MOST_DATABASES - self.database_bytes,
            f"the databases of dpkg and apk may have at most {_MOST_DATABASES} bytes in total",
        )
        if data is not None:
            self.database_bytes += len(data)
            self._add(name, packages_in(data), needed=bool(data.strip()) and not is_part)

    def add_rpm(self, directory: bytes) -> None:
        """Add the packages of the database that rpm would open."""
        limit = f"a database of rpm may have at most {_MOST_RPM}"
        for name in RPM_DATABASES:
            file = directory + b"/" + name
            log = (
                _contents(self.tree, file + b"-wal", _MOST_RPM, limit)
                if name == RPM_SQLITE
                else None
            )
            data = _contents(self.tree, file, _MOST_RPM, limit)
            if data is not None:
                self._add(file, rpm_packages(name, data, log, _place(file)))
                return

    def _add(self, name: bytes, packages: Iterable[SystemPackage], *, needed: bool = False) -> None:
        """Add packages; with `needed`, a database without any is not one of a known format."""
        place = _place(name)
        try:
            for package in packages:
                self._add_package(package, place)
                needed = False
        except UnknownFormatError as error:
            self._leave_out(place, str(error))
        except ValueError as error:
            raise ImageError(f"{place} is damaged: {error}", place=place) from None
        else:
            if needed:
                self._leave_out(place, "it has no package")

    def _leave_out(self, place: str, why: str) -> None:
        self.unknown.append(f"{place} has a format that is not known: {why}")

    def _add_package(self, package: SystemPackage, place: str) -> None:
        if package in self.packages:
            return
        self.packages.add(package)
        self.text += sum(map(len, astuple(package)))
        if len(self.packages) > _MOST_PACKAGES or self.text > _MOST_TEXT:
            raise ImageError(
                f"{place} has too many packages: the databases of an image may have at most"
                f" {_MOST_PACKAGES} packages with {_MOST_TEXT} characters in total",
                place=place,
            )


def _distinct(packages: Iterable[SystemPackage]) -> Iterable[SystemPackage]:
    """Return packages, sorted, each once, although several databases may describe it differently.

    The last in the order stays, where one with an empty text comes before one with another.
    """
    return {
        (each.kind, each.name, each.version, each.architecture, each.epoch): each
        for each in sorted(packages)
    }.values()


def _dpkg_parts(tree: MergedTree) -> list[bytes]:
    """Return the names of the files that each have a package of dpkg."""
    node = tree.lookup(_DPKG_PARTS, follow=True)
    # Beside the description of a package, a file with its checksums may lie.
    names = sorted(
        name for name in (node.children if node else ()) if not name.endswith(b".md5sums")
    )
    if len(names) > _MOST_PACKAGES:
        place = _place(_DPKG_PARTS)
        raise ImageError(
            f"{place} has {len(names)} files, but may have at most {_MOST_PACKAGES}", place=place
        )
    return [_DPKG_PARTS + b"/" + name for name in names]


def _contents(tree: MergedTree, name: bytes, most: int, limit: str) -> bytes | None:
    """Return the contents of a regular file, or None if there is none with that name.

    Raise ImageError if it has more than `most` bytes, with `limit` as what is allowed.
    """
    node = tree.lookup(name, follow=True)
    if node is None or node.kind != Kind.FILE:
        return None
    if node.size > most:
        place = _place(name)
        raise ImageError(f"{place} has {node.size} bytes, but {limit}", place=place)
    with tree.open(node) as stream:
        return stream.read()


def _place(name: bytes) -> str:
    return shown(b"/" + name)


def _os_release(tree: MergedTree) -> dict[str, str]:
    limit = f"it may have at most {_MOST_OS_RELEASE}"
    for name in _OS_RELEASE:
        if (data := _contents(tree, name, _MOST_OS_RELEASE, limit)) is not None:
            return os_release(data)
    return {}
