"""An index that was written or pushed, and what is in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from nixdock.index.entries import IndexEntry
from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob, Platform
from nixdock.oci.platforms import platform_text

__all__ = ["ImageIndex", "IndexedImage"]


class IndexedImage(Struct, frozen=True):
    """A manifest in an index, and where it came from.

    `platform` is None for what is no image, such as an attestation; `size` is that of the manifest,
    in bytes.
    """

    origin: str
    platform: Platform | None
    digest: str
    size: int

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "platform": None if self.platform is None else platform_text(self.platform),
            "digest": self.digest,
            "size": self.size,
            "source": self.origin,
        }


class ImageIndex(Struct, frozen=True):
    """An index of images, in the order in which it lists them.

    `names` are those that it has in a file, or its tags in full; `references` are its references by
    digest in registries. `read` and `sent` are in bytes: of blobs that were read or packed, and of
    what was sent to registries. `attachments` are those of its images that went along.
    """

    manifest: Blob
    images: tuple[IndexedImage, ...]
    annotations: Mapping[str, str]
    names: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    read: int = 0
    sent: int = 0
    attachments: tuple[Attachment, ...] = ()

    @classmethod
    def of(
        cls, manifest: Blob, entries: Iterable[IndexEntry], annotations: Mapping[str, str]
    ) -> ImageIndex:
        """Return the index with these entries, which is nowhere yet."""
        images = (
            IndexedImage(each.origin, each.platform, each.digest, len(each.tree.manifest.data))
            for each in entries
        )
        return cls(manifest, tuple(images), annotations)

    @property
    def digest(self) -> str:
        """The digest of the index."""
        return self.manifest.digest

    def document(self) -> dict[str, Any]:
        """Return the JSON object that `nixdock index --json` prints."""
        return {
            "digest": self.digest,
            "media_type": self.manifest.media_type,
            "size": len(self.manifest.data),
            "names": list(self.names),
            "references": list(self.references),
            "annotations": dict(self.annotations),
            "images": [image.document() for image in self.images],
            "attachments": [each.document() for each in self.attachments],
            "bytes_read": self.read,
            "bytes_sent": self.sent,
        }
