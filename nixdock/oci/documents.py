"""The JSON documents of images, with the keys that the image-spec and Docker define."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from nixdock.oci.digests import sha256_digest
from nixdock.oci.own_keys import MEMORY_KEY

__all__ = [
    "ConfigDocument",
    "DescriptorDocument",
    "DockerManifestDocument",
    "HistoryDocument",
    "IndexDocument",
    "LayoutDocument",
    "ManifestDocument",
    "PlatformDocument",
    "ReferrerDocument",
]


class LayoutDocument(msgspec.Struct, frozen=True, rename="camel"):
    """The file `oci-layout` of an OCI layout (image-layout.md)."""

    image_layout_version: str


class PlatformDocument(msgspec.Struct, frozen=True, rename="camel"):
    """The platform of an image in an index; some tools write it without one of them, or empty."""

    architecture: str = ""
    os: str = ""
    variant: str | None = None
    os_version: str | None = msgspec.field(name="os.version", default=None)


class DescriptorDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A descriptor (descriptor.md); nixdock fetches nothing from its `urls`."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None
    platform: PlatformDocument | None = None
    artifact_type: str | None = None
    urls: list[str] | None = None
    data: str | None = None

    @property
    def is_embedded_wrongly(self) -> bool:
        """Whether `data`, in which some readers look for the blob, is anything but the blob."""
        if self.data is None:
            return False
        try:
            content = base64.b64decode(self.data, validate=True)
        except ValueError:
            return True
        return (len(content), sha256_digest(content)) != (self.size, self.digest)


class IndexDocument(msgspec.Struct, frozen=True, rename="camel"):
    """An image index (image-index.md); programs in Go, such as umoci, write null for no entries."""

    schema_version: int
    entries: list[DescriptorDocument] | None = msgspec.field(name="manifests")
    media_type: str | None = None
    annotations: dict[str, str] | None = None

    @property
    def manifests(self) -> list[DescriptorDocument]:
        """The entries, or none."""
        return self.entries or []


class ManifestDocument(msgspec.Struct, frozen=True, rename="camel"):
    """An image manifest (manifest.md); programs in Go write null for no layers, too."""

    schema_version: int
    config: DescriptorDocument
    content: list[DescriptorDocument] | None = msgspec.field(name="layers")
    media_type: str | None = None
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None

    @property
    def layers(self) -> list[DescriptorDocument]:
        """The layers, or none."""
        return self.content or []


class ReferrerDocument(msgspec.Struct, frozen=True, rename="camel"):
    """What a manifest or an index says of its subject, the manifest to which it belongs."""

    subject: DescriptorDocument | None = None
    artifact_type: str | None = None
    config: DescriptorDocument | None = None
    annotations: dict[str, str] | None = None


class RootfsDocument(msgspec.Struct, frozen=True):
    """The digests of the uncompressed layers, bottom to top."""

    type: str
    diff_ids: list[str] | None = None


class HistoryDocument(msgspec.Struct, frozen=True):
    """The history of a layer, or of a build step that created none (`empty_layer`)."""

    created: str | None = None
    created_by: str | None = None
    comment: str | None = None
    author: str | None = None
    empty_layer: bool = False


class ConfigDocument(msgspec.Struct, frozen=True):
    """An image config (config.md); `memory` is nixdock's own."""

    rootfs: RootfsDocument
    architecture: str = ""
    os: str = ""
    variant: str | None = None
    created: str | None = None
    config: dict[str, Any] | None = None
    history: list[HistoryDocument] | None = None
    author: str | None = None
    os_version: str | None = msgspec.field(name="os.version", default=None)
    os_features: list[str] | None = msgspec.field(name="os.features", default=None)
    memory: Any = msgspec.field(default=None, name=MEMORY_KEY)


class DockerManifestDocument(msgspec.Struct, frozen=True, rename="pascal"):
    """An entry of the `manifest.json` of a docker-archive: one image."""

    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None
