"""A repository to which an image is pushed, and the tags that it is to have there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from nixdock.network.body import Body
from nixdock.oci.descriptor import Blob
from nixdock.oci.image import Image
from nixdock.registry.blobs import has_blob
from nixdock.registry.manifests import put_manifest
from nixdock.registry.referrers import list_referrers, put_referrers
from nixdock.registry.repository import Repository
from nixdock.transfer.destination import Outcome, RegistryDestination, may_mount, try_mount
from nixdock.transfer.lookup import Seen

__all__ = ["PushTarget"]

# If none of so many repositories gives a blob away, it is sent.
_MOST_SOURCES: Final = 2


class PushTarget(Struct, frozen=True):
    """A repository, the tags to set there, and the images that were `seen` in it before.

    Without tags, an image is stored by its digest alone. A registry keeps the blobs of the
    manifests that it has: those that `seen` names are there. Unless `mounts` is False, blobs may be
    mounted from other repositories.
    """

    repository: Repository
    tags: tuple[str, ...]
    seen: tuple[Seen, ...] = ()
    mounts: bool = True

    @property
    def replaced(self) -> list[Seen]:
        """The images that the tags stood for before."""
        return [seen for seen in self.seen if seen.name in self.tags]

    @property
    def place(self) -> str:
        """The host and the repository."""
        return self.repository.place

    def has(self, digest: str) -> bool:
        """Ask the registry for a blob."""
        return has_blob(self.repository, digest)

    def settled(
        self, digest: str, homes: Iterable[str], *, dry_run: bool = False
    ) -> Outcome | None:
        """Return how a blob is there now, or None if it has to be uploaded.

        It is mounted from another repository of the registry if one of `homes`, as HOST/NAME, is
        that; a dry run only asks.
        """
        if any(digest == blob.digest for seen in self.seen for blob in seen.blobs):
            return Outcome.KNOWN
        sources = self._mountable(homes) if self.mounts else ()
        if dry_run:
            if self.has(digest):
                return Outcome.PRESENT
            for name in sources:
                if may_mount(self.repository, digest, name):
                    return Outcome.MOUNTED
            return None
        for name in sources:
            # The upload that the registry begins if it can't mount comes to nothing.
            if try_mount(self.repository, digest, name).done:
                return Outcome.MOUNTED
        return Outcome.PRESENT if self.has(digest) else None

    def _mountable(self, homes: Iterable[str]) -> list[str]:
        own, prefix = self.repository.name, f"{self.repository.host}/"
        names = (home.removeprefix(prefix) for home in homes if home.startswith(prefix))
        return [name for name in names if name != own][:_MOST_SOURCES]

    def has_image(self, digest: str) -> bool:
        """Tell whether that manifest is there, and all tags stand for it."""
        is_there = any(digest in {seen.manifest, seen.index} for seen in self.seen)
        return is_there and self._tags_of(digest).issuperset(self.tags)

    def _tags_of(self, digest: str) -> set[str]:
        return {seen.name for seen in self.seen if seen.index == digest}

    def put_image(self, image: Image, *, dry_run: bool = False) -> int:
        """Store config, manifest and attachments, then set tags; return how many bytes were sent.

        A tag is never that of an image without its attachments.
        """
        config, manifest, root = image.config, image.manifest, image.root
        if self.has_image(root.digest):
            return self._attach(image, dry_run=dry_run)
        attestation = image.attestation
        blobs = (config, *(() if attestation is None else attestation.blobs))
        # In the order in which one refers to the other.
        above = () if attestation is None else (attestation.manifest, root)
        sent = 0
        destination = RegistryDestination(self.repository)
        if dry_run:
            new = [blob for blob in blobs if not destination.has(blob.digest)]
            sent += sum(len(blob.data) for blob in (*new, *(above or [manifest])))
            return sent + self._attach(image, dry_run=True)
        for blob in blobs:
            if destination.put(blob.digest, Body.of(blob.data)) is Outcome.UPLOADED:
                sent += len(blob.data)
        if not any(seen.manifest == manifest.digest for seen in self.seen):
            sent += self._put(manifest.digest, manifest)
        sent += sum(self._put(each.digest, each) for each in above)
        sent += self._attach(image)
        there = self._tags_of(root.digest)
        return sent + sum(self._put(tag, root) for tag in self.tags if tag not in there)

    def _attach(self, image: Image, *, dry_run: bool = False) -> int:
        if not image.attachments:
            return 0
        if dry_run:
            digest = image.manifest.digest
            listed = {each.digest for each in list_referrers(self.repository, digest)}
            new = (each for each in image.attachments if each.manifest.digest not in listed)
            return sum(len(blob.data) for each in new for blob in (each.manifest, each.content))
        return put_referrers(self.repository, image.attachments)

    def _put(self, name: str, manifest: Blob) -> int:
        put_manifest(self.repository, name, manifest)
        return len(manifest.data)
