"""Joining entries in an index: their order, their platforms, and where their blobs are."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec.structs import replace

from nixdock.errors import ImageError, InputError
from nixdock.index.entries import IndexEntry
from nixdock.oci.attestation import ATTESTATION_OF
from nixdock.oci.descriptor import Blob, Platform, canonical_json
from nixdock.oci.documents import DescriptorDocument
from nixdock.oci.media_types import INDEX_MEDIA_TYPE
from nixdock.oci.platforms import full_platform, platform_text
from nixdock.oci.untrusted_json import MOST_JSON
from nixdock.transfer.source import Source
from nixdock.transfer.tree import Tree

__all__ = ["JoinedSource", "check_platforms", "joined_entries", "joined_tree", "shared_annotations"]

_Result = TypeVar("_Result")

_STANDARD: Final = "org.opencontainers.image."


def joined_entries(entries: Iterable[IndexEntry]) -> list[IndexEntry]:
    """Return the entries in the order of the index, each once.

    Images come first, sorted by OS, architecture, variant and version of the OS. What goes along
    with them follows in the order of the images that it is about. Of several descriptors of the
    same entry, the one that says most is taken. So the order of the arguments does not matter; only
    images of one index that are for the same platform keep their order.

    Raise InputError if images of different origins are for the same platform.
    """
    distinct: dict[tuple[str, ...], IndexEntry] = {}
    for entry in entries:
        # One statement may be about several images.
        key = (entry.digest, _about(entry), *_platform_key(entry))
        known = distinct.setdefault(key, entry)
        if _said(known) < _said(entry):
            distinct[key] = replace(known, platform=entry.platform, descriptor=entry.descriptor)
    images = [entry for entry in distinct.values() if entry.platform is not None]
    others = [entry for entry in distinct.values() if entry.platform is None]
    check_platforms((entry.origin, entry.platform) for entry in images if entry.platform)
    images.sort(key=_platform_key)
    places = {entry.digest: place for place, entry in reversed([*enumerate(images)])}

    def place(entry: IndexEntry) -> tuple[int, str, str]:
        about = _about(entry)
        return places.get(about, len(images)), entry.digest, about

    return [*images, *sorted(others, key=place)]


def check_platforms(images: Iterable[tuple[str, Platform]]) -> None:
    """Raise InputError if images of different origins are for the same platform."""
    first: dict[Platform, str] = {}
    for origin, platform in images:
        other = first.setdefault(full_platform(platform), origin)
        if other != origin:
            raise InputError(
                f"{other} and {origin} are both for {platform_text(platform)}; an index has one"
                " image for a platform, so leave one of them out",
                place=origin,
            )


def _about(entry: IndexEntry) -> str:
    """Return the digest of the image that an entry is about, empty for an image."""
    return "" if entry.platform else entry.annotations.get(ATTESTATION_OF, "")


def _said(entry: IndexEntry) -> tuple[int, bytes]:
    """Return what orders descriptors by how much they say."""
    said = canonical_json(entry.descriptor)
    return len(said), said


def _platform_key(entry: IndexEntry) -> tuple[str, ...]:
    if entry.platform is None:
        return ()
    full = full_platform(entry.platform)
    return full.os, full.architecture, full.variant or "", full.os_version or ""


def shared_annotations(entries: Iterable[IndexEntry]) -> dict[str, str]:
    """Return the image-spec's annotations that the manifests of all images have in common."""
    first, *others = (entry.manifest_annotations for entry in entries if entry.platform)
    return {
        key: value
        for key, value in sorted(first.items())
        if key.startswith(_STANDARD) and all(each.get(key) == value for each in others)
    }


def joined_tree(entries: Sequence[IndexEntry], annotations: Mapping[str, str]) -> Tree:
    """Return the index of all entries; raise InputError if it is larger than registries allow."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": INDEX_MEDIA_TYPE,
        "manifests": [dict(entry.descriptor) for entry in entries],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    index = Blob(INDEX_MEDIA_TYPE, canonical_json(document))
    if len(index.data) > MOST_JSON:
        raise InputError(
            f"the index of {len(entries)} manifests has {len(index.data)} bytes, but registries"
            f" allow at most {MOST_JSON}"
        )
    return Tree(index, children=tuple(entry.tree for entry in entries))


class JoinedSource:
    """The blobs of all entries, each in the first source that should have it."""

    def __init__(self, entries: Sequence[IndexEntry]) -> None:
        self._manifests: dict[str, Source] = {}
        self._blobs: dict[str, Source] = {}
        for entry in entries:
            if entry.source is None:
                continue
            self._manifests.setdefault(entry.digest, entry.source)
            for blob in entry.tree.all_blobs():
                self._blobs.setdefault(blob.digest, entry.source)

    @property
    def place(self) -> str:
        """What it is, for messages."""
        return "the images"

    def manifest(self, descriptor: DescriptorDocument) -> Blob:
        """Read a manifest from its source."""
        return _home(self._manifests, descriptor.digest).manifest(descriptor)

    def has(self, digest: str) -> bool:
        """Ask the source of a blob."""
        return digest in self._blobs and self._blobs[digest].has(digest)

    def open(self, digest: str) -> io.RawIOBase:
        """Open a blob in its source."""
        return _home(self._blobs, digest).open(digest)

    def delivered(self, digest: str, take: Callable[[], _Result]) -> _Result:
        """Let the source of a blob deliver it."""
        return _home(self._blobs, digest).delivered(digest, take)

    def mount_from(self, digest: str, host: str) -> str | None:
        """Return the repository of a blob's source."""
        return _home(self._blobs, digest).mount_from(digest, host)


def _home(homes: Mapping[str, Source], digest: str) -> Source:
    if digest not in homes:
        raise ImageError(f"the images have no blob {digest}", digest=digest)
    return homes[digest]


if TYPE_CHECKING:
    # Let mypy check that JoinedSource provides the interface.
    _SOURCE: type[Source] = JoinedSource
