"""What a registry serves: repositories with tags, manifests and blobs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Final, Protocol

from msgspec import Struct, field

from nixdock.errors import InputError
from nixdock.oci.descriptor import Blob
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.reference import Reference, is_tag
from nixdock.oci.referrers import referrer_entry, referrer_of
from nixdock.oci.registry_reference import RegistryReference
from nixdock.system.readers import BytesReader

__all__ = [
    "Catalogue",
    "Document",
    "Offer",
    "Repository",
    "ServedBlob",
    "ServedName",
    "UnsettledOffer",
    "catalogue",
    "settle",
]

_UNNAMED: Final = "image"


class ServedBlob(Protocol):
    """A blob that can be read from any position."""

    @property
    def size(self) -> int:
        """The size in bytes."""

    def open(self) -> io.RawIOBase:
        """Open it for reading; the stream is seekable."""


class Document(Struct, frozen=True):
    """A small blob in memory, such as a config."""

    data: bytes

    @property
    def size(self) -> int:
        """The size in bytes."""
        return len(self.data)

    def open(self) -> io.RawIOBase:
        """Open it for reading."""
        return _SeekableBytes(self.data)


class _SeekableBytes(BytesReader):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data = data

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only positions from the start")
        self._left = memoryview(self._data)[offset:]
        return offset


class ServedName(Struct, frozen=True):
    """A repository of this registry, which has no host, and a tag, or None for the digest alone."""

    repository: str
    tag: str | None

    @classmethod
    def of(cls, name: str) -> ServedName:
        """Return where the image `name` is served: the host of its own registry is left out.

        A name that is a tag alone, as layouts have it, and names that no registry takes belong to
        the repository `image`. There, a tag that no registry takes stands for the digest.
        """
        if "/" not in name and ":" not in name and "@" not in name:
            return cls(_UNNAMED, name if is_tag(name) else None)
        try:
            reference = RegistryReference.parse(name)
        except InputError:
            return cls(_UNNAMED, "latest")
        # Docker Hub's images without an owner are written without one.
        return cls(reference.repository.removeprefix("library/"), reference.tag)


class Offer(Struct, frozen=True):
    """An image, or an index of images, that can be served: its own names, and all that it has.

    `manifest` is what its names stand for, and one of `manifests`. `config` is the digest of the
    config, or None if there are several. `layers` are those of an image that is being built.
    """

    names: tuple[str, ...]
    manifest: Blob
    manifests: Mapping[str, Blob]
    blobs: Mapping[str, ServedBlob]
    config: str | None = None
    layers: tuple[LayerBlob, ...] = ()

    def served_names(self) -> tuple[ServedName, ...]:
        """Return the names at which it is served, at least one."""
        return _served_names(self.names)


class UnsettledOffer(Struct, frozen=True):
    """An image whose digests are not known yet: its own names, and the offer that it will be."""

    names: tuple[str, ...]
    settled: Future[Offer] = field(default_factory=Future)

    def served_names(self) -> tuple[ServedName, ...]:
        """Return the names at which it is served, at least one; each has a tag."""
        return _served_names(self.names)


def _served_names(names: tuple[str, ...]) -> tuple[ServedName, ...]:
    return tuple(dict.fromkeys(map(ServedName.of, names or (f"{_UNNAMED}:latest",))))


class Repository(Struct, frozen=True):
    """A repository: the digest of each tag, manifests by their digests, blobs by theirs.

    `referrers` are the descriptors of manifests that have a subject, such as signatures, by the
    subject's digest. `unsettled` are the images of which nothing else is here yet.
    """

    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, Blob] = field(default_factory=dict)
    blobs: dict[str, ServedBlob] = field(default_factory=dict)
    referrers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    unsettled: list[Future[Offer]] = field(default_factory=list)

    def manifest(self, reference: str) -> Blob | None:
        """Return the manifest with a tag or a digest."""
        return self.manifests.get(self.tags.get(reference, reference))

    def add(self, offer: Offer) -> None:
        """Add an image; raise ImageError if what one of its manifests belongs to is malformed."""
        self.blobs.update(offer.blobs)
        for manifest in offer.manifests.values():
            if manifest.digest not in self.manifests:
                self.manifests[manifest.digest] = manifest
                self._refer(manifest)

    def set_tag(self, name: ServedName, digest: str) -> None:
        """Let a name of the repository stand for a manifest.

        Raise InputError if it stands for another one.
        """
        if name.tag is not None and self.tags.setdefault(name.tag, digest) != digest:
            raise InputError(
                f"two images would be served as {Reference(name.repository, name.tag)}; give"
                " one of them another name"
            )

    def _refer(self, manifest: Blob) -> None:
        subject = referrer_of(manifest).subject
        if subject is not None:
            self.referrers.setdefault(subject.digest, []).append(referrer_entry(manifest))


Catalogue = Mapping[str, Repository]
"""The repositories by their names."""


def catalogue(offers: Iterable[Offer | UnsettledOffer]) -> Catalogue:
    """Return the repositories of all images; raise InputError if one name stands for two images."""
    repositories: dict[str, Repository] = {}
    for offer in offers:
        for name in offer.served_names():
            repository = repositories.setdefault(name.repository, Repository())
            if isinstance(offer, Offer):
                repository.add(offer)
                repository.set_tag(name, offer.manifest.digest)
            elif offer.settled not in repository.unsettled:
                repository.unsettled.append(offer.settled)
    return repositories


def settle(repositories: Catalogue, unsettled: UnsettledOffer, offer: Offer) -> None:
    """Replace an image whose digests are known now, while the repositories are read.

    Raise InputError if one of its names stands for another image.
    """
    names = unsettled.served_names()
    for name in names:
        # Whoever finds the tag finds all that it leads to.
        repositories[name.repository].add(offer)
        repositories[name.repository].set_tag(name, offer.manifest.digest)
    for repository in {name.repository for name in names}:
        repositories[repository].unsettled.remove(unsettled.settled)
    unsettled.settled.set_result(offer)
