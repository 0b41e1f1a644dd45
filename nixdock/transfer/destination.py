"""Where images are sent: the interface of all destinations, and the registry."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from nixdock.errors import RegistryError
from nixdock.layers.hashed import VerifiedReader
from nixdock.network.body import Body
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob
from nixdock.oci.referrers import referrer_of
from nixdock.registry.blobs import has_blob, mount_blob, upload_blob
from nixdock.registry.manifests import manifest_digest, put_manifest
from nixdock.registry.referrers import put_referrers
from nixdock.registry.repository import Repository

if TYPE_CHECKING:
    import io

__all__ = ["Destination", "Mount", "Outcome", "RegistryDestination", "may_mount", "try_mount"]


class Outcome(StrEnum):
    """How a blob or manifest got to its destination."""

    KNOWN = "known"
    PRESENT = "present"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"
    WRITTEN = "written"


class Destination(Protocol):
    """A place for one image or index of images; several threads may put blobs there at once.

    The blobs of a manifest are put before it, a manifest before the index that lists it, and names
    last.
    """

    @property
    def host(self) -> str | None:
        """The registry in which blobs can be mounted from other repositories, if it is one."""

    def has(self, digest: str) -> bool:
        """Tell whether a blob is there."""

    def put(self, digest: str, body: Body, mount_from: str | None = None) -> Outcome:
        """Store a blob unless it is there.

        `mount_from` is a repository of the same registry that has it. Raise ImageError if the bytes
        of `body` are not those of the blob.
        """

    def put_manifest(self, manifest: Blob) -> Outcome:
        """Store a manifest or an index under its digest, unless it is there."""

    def attach(self, attachments: Sequence[Attachment]) -> None:
        """Store what is attached to manifests, which are there, unless it is there."""

    def tag(self, name: str, manifest: Blob) -> Outcome:
        """Give a manifest or an index a name, unless it has it."""


class Mount(Struct, frozen=True):
    """Whether a blob was mounted, and else the location of an upload that has begun, if one has."""

    done: bool
    location: str | None = None


def try_mount(repository: Repository, digest: str, mount_from: str) -> Mount:
    """Mount a blob from another repository, if the registry does that and the account may."""
    try:
        location = mount_blob(repository, digest, mount_from)
    except RegistryError as error:
        if not _has_no_mounts(error):
            raise
        return Mount(done=False)
    return Mount(done=location is None, location=location)


def may_mount(repository: Repository, digest: str, mount_from: str) -> bool:
    """Tell whether another repository has a blob to mount, and lets the account see it."""
    transport = repository.transport
    there, patience = Repository(transport, mount_from), transport.patience(1)
    try:
        # As with the mount itself, it is better to upload the blob than to insist.
        return has_blob(there, digest, patience, insist=False)
    except RegistryError as error:
        if not _has_no_mounts(error):
            raise
        return False


def _has_no_mounts(error: RegistryError) -> bool:
    """Tell whether an error only means that a blob can't be mounted.

    Not every registry mounts blobs, nor from every repository, nor at any moment, and each has its
    own way to say so: whatever it answers, the blob can be uploaded. That fails as well if the
    registry can't be reached, or refuses everything.
    """
    return error.status is not None or error.is_broken


class RegistryDestination:
    """A repository of a registry as a destination; names are tags."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    @property
    def host(self) -> str | None:
        """The host of the registry."""
        return self.repository.host

    @property
    def requests(self) -> int:
        """How many requests the registry has answered."""
        return self.repository.transport.request_count

    def has(self, digest: str) -> bool:
        """Ask for a blob."""
        return has_blob(self.repository, digest)

    def put(self, digest: str, body: Body, mount_from: str | None = None) -> Outcome:
        """Mount a blob or upload it, unless it is there; the bytes are verified on their way."""
        if self.has(digest):
            return Outcome.PRESENT
        mount = Mount(done=False)
        if mount_from is not None:
            mount = try_mount(self.repository, digest, mount_from)
            if mount.done:
                return Outcome.MOUNTED
        upload_blob(self.repository, digest, self._verified(digest, body), mount.location)
        return Outcome.UPLOADED

    def put_manifest(self, manifest: Blob) -> Outcome:
        """Store a manifest or an index under its digest, unless it is there.

        If it has a subject, it is listed among the referrers of that.
        """
        if referrer_of(manifest).subject is None:
            return self._put(manifest.digest, manifest)
        sent = put_referrers(self.repository, [Attachment(manifest, ())])
        return Outcome.UPLOADED if sent else Outcome.PRESENT

    def attach(self, attachments: Sequence[Attachment]) -> None:
        """Store attachments, and see to it that they are listed."""
        put_referrers(self.repository, attachments)

    def tag(self, name: str, manifest: Blob) -> Outcome:
        """Let the tag `name` be that of a manifest or an index, unless it is."""
        return self._put(name, manifest)

    def _put(self, name: str, manifest: Blob) -> Outcome:
        if manifest_digest(self.repository, name) == manifest.digest:
            return Outcome.PRESENT
        put_manifest(self.repository, name, manifest)
        return Outcome.UPLOADED

    def _verified(self, digest: str, body: Body) -> Body:
        """Let a damaged blob fail here: not every registry says what is wrong with it."""

        def open_verified() -> io.RawIOBase | io.BufferedIOBase:
            return VerifiedReader(body.open(), f"the blob {digest}", digest, body.size)

        return Body(body.size, open_verified)


if TYPE_CHECKING:
    # Let mypy check that RegistryDestination provides the interface.
    _DESTINATION: type[Destination] = RegistryDestination
