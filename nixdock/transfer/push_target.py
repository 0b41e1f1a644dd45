"""A repository to which an image is pushed, and the tags that it is to have there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from nixdock.network.body import Body
from nixdock.oci.descriptor import Blob
from nixdock.oci.image import Image
from nixdock.registry.blobs import has_blob
from nixdock.registry.manifests import put_manifest
from nixdock.registry.repository import Repository
from nixdock.transfer.destination import Outcome, RegistryDestination, try_mount
from nixdock.transfer.lookup import Seen

__all__ = ["PushTarget"]

# If none of so many repositories gives a blob away, it is sent.
_MOST_SOURCES: Final = 2


@dataclass(frozen=True, slots=True)
class PushTarget:
    """A repository, the tags to set there, and the images that were `seen` in it before.

    Without tags, an image is stored by its digest alone. A registry keeps the blobs of the
    manifests that it has: those that `seen` names are there.
    """

    repository: Repository
    tags: tuple[str, ...]
    seen: tuple[Seen, ...] = ()
    named: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        named = frozenset(blob.digest for seen in self.seen for blob in seen.blobs)
        object.__setattr__(self, "named", named)

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
        if digest in self.named:
            return Outcome.KNOWN
        sources = self._mountable(homes)
        if dry_run:
            if self.has(digest):
                return Outcome.PRESENT
            for name in sources:
                if has_blob(Repository(self.repository.transport, name), digest):
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
        """Store config and manifest, then set the tags; return how many bytes were sent."""
        sent = 0
        config, manifest = image.config, image.manifest
        destination = RegistryDestination(self.repository)
        if dry_run:
            sent += 0 if destination.has(config.digest) else len(config.data)
            return sent + len(manifest.data)
        if destination.put(config.digest, Body.of(config.data)) is Outcome.UPLOADED:
            sent += len(config.data)
        for name in self._names(manifest):
            put_manifest(self.repository, name, manifest)
            sent += len(manifest.data)
        return sent

    def _names(self, manifest: Blob) -> list[str]:
        """Return under what the manifest is stored: its digest first, tags last."""
        there = self._tags_of(manifest.digest)
        is_stored = any(seen.manifest == manifest.digest for seen in self.seen)
        tags = (tag for tag in self.tags if tag not in there)
        return [*([] if is_stored else [manifest.digest]), *tags]
