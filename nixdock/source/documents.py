"""The JSON documents of images, as the image-spec and Docker name their keys."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from nixdock.image import CONFIG_MEDIA_TYPE, INDEX_MEDIA_TYPE, MANIFEST_MEDIA_TYPE
from nixdock.pack import LAYER_MEDIA_TYPE
from nixdock.source.decompress import Coding

__all__ = [
    "CONFIG_MEDIA_TYPES",
    "CONTAINERD_NAME",
    "DOCKER_LAYER",
    "INDEX_MEDIA_TYPES",
    "LAYER_CODINGS",
    "MANIFEST_MEDIA_TYPES",
    "REF_NAME",
    "ConfigDocument",
    "DescriptorDocument",
    "DockerManifestDocument",
    "HistoryDocument",
    "IndexDocument",
    "LayoutDocument",
    "ManifestDocument",
    "PlatformDocument",
    "layer_media_type",
]

REF_NAME: Final = "org.opencontainers.image.ref.name"
CONTAINERD_NAME: Final = "io.containerd.image.name"

_DOCKER: Final = "application/vnd.docker"
DOCKER_LAYER: Final = f"{_DOCKER}.image.rootfs.diff.tar.gzip"
"""What skopeo and Podman call each layer in a manifest of Docker's kind, compressed or not."""

_FOREIGN: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"

INDEX_MEDIA_TYPES: Final = frozenset(
    {INDEX_MEDIA_TYPE, f"{_DOCKER}.distribution.manifest.list.v2+json"}
)
MANIFEST_MEDIA_TYPES: Final = frozenset(
    {MANIFEST_MEDIA_TYPE, f"{_DOCKER}.distribution.manifest.v2+json"}
)
CONFIG_MEDIA_TYPES: Final = frozenset({CONFIG_MEDIA_TYPE, f"{_DOCKER}.container.image.v1+json"})

LAYER_CODINGS: Final = {
    LAYER_MEDIA_TYPE: Coding.NONE,
    f"{LAYER_MEDIA_TYPE}+gzip": Coding.GZIP,
    f"{LAYER_MEDIA_TYPE}+zstd": Coding.ZSTD,
    _FOREIGN: Coding.NONE,
    f"{_FOREIGN}+gzip": Coding.GZIP,
    f"{_FOREIGN}+zstd": Coding.ZSTD,
    f"{_DOCKER}.image.rootfs.diff.tar": Coding.NONE,
    DOCKER_LAYER: Coding.GZIP,
    f"{_DOCKER}.image.rootfs.diff.tar.zstd": Coding.ZSTD,
    f"{_DOCKER}.image.rootfs.foreign.diff.tar": Coding.NONE,
    f"{_DOCKER}.image.rootfs.foreign.diff.tar.gzip": Coding.GZIP,
}
"""The media types of layers, and how the bytes of each are compressed."""


def layer_media_type(coding: Coding) -> str:
    """Return the media type of a layer that came without one."""
    return LAYER_MEDIA_TYPE if coding is Coding.NONE else f"{LAYER_MEDIA_TYPE}+{coding}"


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
