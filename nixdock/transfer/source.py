"""Where images are copied from: registries, and OCI layouts in directories and archives."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from nixdock.errors import ImageError
from nixdock.oci.descriptor import Blob
from nixdock.oci.digests import check_digest, hex_of
from nixdock.oci.documents import DescriptorDocument
from nixdock.oci.layout import BLOBS
from nixdock.oci.untrusted_json import MOST_JSON
from nixdock.read.members import Members, read_whole
from nixdock.registry.asking_again import asked_again
from nixdock.registry.blobs import BlobReader, has_blob
from nixdock.registry.manifests import get_manifest
from nixdock.registry.repository import Repository

__all__ = ["LayoutSource", "RegistrySource", "Source"]

_Result = TypeVar("_Result")


class Source(Protocol):
    """A place with manifests and blobs; several threads may read blobs at once."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""

    def manifest(self, descriptor: DescriptorDocument) -> Blob:
        """Return a manifest or an index, whose digest is verified; raise ImageError if missing."""

    def has(self, digest: str) -> bool:
        """Tell whether a blob is there."""

    def open(self, digest: str) -> io.RawIOBase:
        """Open a blob for reading, unverified; it is seekable."""

    def delivered(self, digest: str, take: Callable[[], _Result]) -> _Result:
        """Return what `take` returns, which opens a blob here and reads it.

        Raise ImageError, with the place, if `take` does because the bytes are wrong.
        """

    def mount_from(self, digest: str, host: str) -> str | None:
        """Return the repository from which a blob can be mounted, if its registry is `host`."""


class RegistrySource:
    """A repository of a registry."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @property
    def requests(self) -> int:
        """How many requests the registry has answered."""
        return self._repository.transport.request_count

    @property
    def place(self) -> str:
        """The host and the repository."""
        return self._repository.place

    def manifest(self, descriptor: DescriptorDocument) -> Blob:
        """Fetch a manifest or an index."""
        found = get_manifest(self._repository, check_digest(descriptor.digest))
        if found is None:
            raise ImageError(
                f"{self.place} has no manifest {descriptor.digest}, to which its index refers",
                place=self.place,
                digest=descriptor.digest,
            )
        return Blob(found.media_type, found.data)

    def has(self, digest: str) -> bool:
        """Ask for a blob."""
        return has_blob(self._repository, digest)

    def open(self, digest: str) -> io.RawIOBase:
        """Return the blob as it comes; a position is where the transfer begins."""
        return BlobReader(self._repository, digest)

    def delivered(self, digest: str, take: Callable[[], _Result]) -> _Result:  # noqa: ARG002 (it has all)
        """Ask the registry again for bytes that are wrong."""
        try:
            return asked_again(self._repository.transport, take)
        except ImageError as error:
            raise ImageError(
                f"{self.place}: {error}; the registry, or a cache before it, has other bytes: push"
                " the image again",
                place=self.place,
                digest=error.digest,
            ) from None

    def mount_from(self, digest: str, host: str) -> str | None:  # noqa: ARG002 (it has all)
        """Return the repository."""
        return self._repository.name if self._repository.host == host else None


class LayoutSource:
    """The files of an OCI layout."""

    def __init__(self, members: Members, place: str) -> None:
        self._members = members
        self._place = place

    @property
    def place(self) -> str:
        """The path of the layout."""
        return self._place

    def manifest(self, descriptor: DescriptorDocument) -> Blob:
        """Read a manifest or an index."""
        if not self.has(check_digest(descriptor.digest)):
            raise ImageError(
                f"{self.place} has no manifest {descriptor.digest}, to which its index refers;"
                " choose the image for one platform",
                place=self.place,
                digest=descriptor.digest,
            )
        blob = Blob(
            descriptor.media_type, read_whole(self._members, _name(descriptor.digest), MOST_JSON)
        )
        if blob.digest != descriptor.digest:
            raise ImageError(
                f"{self.place}: the blob {descriptor.digest} is damaged: its digest is"
                f" {blob.digest}",
                place=self.place,
                digest=blob.digest,
            )
        return blob

    def has(self, digest: str) -> bool:
        """Tell whether there is a file for a blob."""
        return _name(digest) in self._members

    def open(self, digest: str) -> io.RawIOBase:
        """Open the file of a blob."""
        return self._members.open_range(_name(digest))

    def delivered(self, digest: str, take: Callable[[], _Result]) -> _Result:  # noqa: ARG002 (the same)
        """Say which layout has the wrong bytes."""
        try:
            return take()
        except ImageError as error:
            raise ImageError(
                f"{self.place}: {error}", place=self.place, digest=error.digest
            ) from None

    def mount_from(self, digest: str, host: str) -> str | None:  # noqa: ARG002 (the interface)
        """Return None: files can't be mounted."""
        return None


def _name(digest: str) -> str:
    return f"{BLOBS}/{hex_of(digest)}"


if TYPE_CHECKING:
    # Let mypy check that both provide the interface.
    _SOURCES: tuple[type[Source], ...] = (RegistrySource, LayoutSource)
