"""A bill of materials: the packages of an image or a closure, before it is written in a format."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from nixdock.nix.closure import PathInfo
from nixdock.nix.store_path import StorePath

__all__ = [
    "BasePart",
    "Bill",
    "License",
    "Meta",
    "Package",
    "Subject",
    "SubjectKind",
    "SystemPackage",
]


class SubjectKind(StrEnum):
    """What a bill describes."""

    IMAGE = "image"
    CLOSURE = "closure"


class Subject(Struct, frozen=True):
    """The image or closure that a bill describes.

    `created` is in RFC 3339, in UTC. `digest` is that of the image's manifest, if it is known, and
    `config_digest` that of its config. `repository` has a host only if the image states one.
    """

    kind: SubjectKind
    name: str
    version: str
    created: str
    digest: str | None = None
    config_digest: str | None = None
    repository: str | None = None
    architecture: str | None = None


class License(Struct, frozen=True):
    """A licence, or an expression such as a choice of several.

    `spdx_id` is its identifier in the SPDX License List, or an expression of such identifiers; it
    is None if there is none. `parts` are the names of the licences and exceptions in an expression.
    """

    name: str
    spdx_id: str | None = None
    url: str | None = None
    parts: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The identifier, or else the name."""
        return self.spdx_id or self.name

    @property
    def names(self) -> tuple[str, ...]:
        """What the licence, or each of those in an expression, is called."""
        return self.parts or (self.text,)


class Meta(Struct, frozen=True):
    """What a package set says of a package.

    All `licenses` apply. `cpe` is in the form of CPE 2.3, `purls` name the software upstream, and
    `patched` are the identifiers of the CVEs that patches of the package set mend.
    """

    description: str = ""
    homepage: str = ""
    licenses: tuple[License, ...] = ()
    cpe: str | None = None
    purls: tuple[str, ...] = ()
    patched: tuple[str, ...] = ()


class Package(Struct, frozen=True):
    """A Nix package: outputs of one derivation, the default output first.

    `dependencies` are the paths of the packages to which its outputs refer, or None if the
    references of one of them are not known.
    """

    name: str
    version: str
    outputs: tuple[PathInfo, ...]
    dependencies: tuple[StorePath, ...] | None = None
    meta: Meta = Meta()

    @property
    def path(self) -> StorePath:
        """The path of the first output, which identifies the package."""
        return self.outputs[0].path

    @property
    def nar_size(self) -> int:
        """The sum of the NAR sizes of the outputs, in bytes; 0 if they are not known."""
        return sum(info.nar_size for info in self.outputs)


class SystemPackage(Struct, frozen=True, order=True):
    """A package that the package manager of a distribution has installed.

    `kind` is the type of its package URL: deb, apk or rpm. `source` is the source
    package, if it has another name or version: as NAME or NAME@VERSION or, of rpm, the file's name.
    `license` is as the database states it.
    """

    kind: str
    name: str
    version: str
    architecture: str
    source: str = ""
    license: str = ""
    homepage: str = ""
    description: str = ""
    epoch: str = ""


class BasePart(Struct, frozen=True):
    """What an image has below the layers of nixdock: the base image, or all of a foreign image.

    `distribution` and `release` are the ID and VERSION_ID of its os-release file, `title` the
    PRETTY_NAME; each is empty if it is not known. The packages are those of the whole image, as
    scripts may have changed them. `unread` says why the packages, or some of them, are not known,
    and is empty if they are; with `has_unknown`, there is a database that could not be read.
    """

    diff_ids: tuple[str, ...]
    distribution: str = ""
    release: str = ""
    title: str = ""
    packages: tuple[SystemPackage, ...] = ()
    unread: str = ""
    has_unknown: bool = False


class Bill(Struct, frozen=True):
    """A bill of materials; the packages are in the order of their paths."""

    subject: Subject
    packages: tuple[Package, ...]
    base: BasePart | None = None

    def top_packages(self) -> Iterator[Package]:
        """Yield the packages on which no other package depends."""
        used = {
            path
            for package in self.packages
            for path in package.dependencies or ()
            if path != package.path
        }
        return (package for package in self.packages if package.path not in used)
