"""The JSON documents of images, as the image-spec and Docker name their keys."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "ConfigDocument",
    "DescriptorDocument",
    "DockerManifestDocument",
    "HistoryDocument",
    "IndexDocument",
    "LayoutDocument",
    "ManifestDocument",
    "PlatformDocument",
]


class LayoutDocument(msgspec.Struct, frozen=True, rename="camel"):
    """The marker of an OCI layout."""

    image_layout_version: str


class PlatformDocument(msgspec.Struct, frozen=True, rename="camel"):
    """What an image in an index runs on."""

    architecture: str
    os: str
    variant: str | None = None


class DescriptorDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A reference to a blob."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None
    platform: PlatformDocument | None = None
    artifact_type: str | None = None


class IndexDocument(msgspec.Struct, frozen=True, rename="camel"):
    """An image index."""

    schema_version: int
    manifests: list[DescriptorDocument]
    media_type: str | None = None


class ManifestDocument(msgspec.Struct, frozen=True, rename="camel"):
    """An image manifest."""

    schema_version: int
    config: DescriptorDocument
    layers: list[DescriptorDocument]
    media_type: str | None = None
    artifact_type: str | None = None


class RootfsDocument(msgspec.Struct, frozen=True):
    """The layers of an image, uncompressed."""

    type: str
    diff_ids: list[str] | None = None


class HistoryDocument(msgspec.Struct, frozen=True):
    """How a layer, or a step that made none, came about."""

    created: str | None = None
    created_by: str | None = None
    comment: str | None = None
    author: str | None = None
    empty_layer: bool = False


class ConfigDocument(msgspec.Struct, frozen=True):
    """An image config."""

    rootfs: RootfsDocument
    architecture: str = ""
    os: str = ""
    variant: str | None = None
    created: str | None = None
    config: dict[str, Any] | None = None
    history: list[HistoryDocument] | None = None


class DockerManifestDocument(msgspec.Struct, frozen=True, rename="pascal"):
    """An image in the `manifest.json` of a docker-archive."""

    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None
