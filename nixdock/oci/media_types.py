"""The media types of images, as the image-spec and Docker name them."""

from __future__ import annotations

from typing import Final

from nixdock.coding.codings import Coding

__all__ = [
    "CONFIG_MEDIA_TYPE",
    "CONFIG_MEDIA_TYPES",
    "DOCKER_LAYER",
    "EMPTY_MEDIA_TYPE",
    "INDEX_MEDIA_TYPE",
    "INDEX_MEDIA_TYPES",
    "LAYER_CODINGS",
    "LAYER_MEDIA_TYPE",
    "MANIFEST_MEDIA_TYPE",
    "MANIFEST_MEDIA_TYPES",
    "layer_media_type",
]

_OCI: Final = "application/vnd.oci.image"
_DOCKER: Final = "application/vnd.docker"

LAYER_MEDIA_TYPE: Final = f"{_OCI}.layer.v1.tar"
"""An uncompressed layer."""

CONFIG_MEDIA_TYPE: Final = f"{_OCI}.config.v1+json"
"""An image config."""

EMPTY_MEDIA_TYPE: Final = "application/vnd.oci.empty.v1+json"
"""The config of a manifest that is not an image's: the JSON object without keys."""

MANIFEST_MEDIA_TYPE: Final = f"{_OCI}.manifest.v1+json"
"""An image manifest."""

INDEX_MEDIA_TYPE: Final = f"{_OCI}.index.v1+json"
"""An image index."""

DOCKER_LAYER: Final = f"{_DOCKER}.image.rootfs.diff.tar.gzip"
"""Docker's gzipped layer; skopeo and Podman use it for every layer, compressed or not."""

CONFIG_MEDIA_TYPES: Final = frozenset({CONFIG_MEDIA_TYPE, f"{_DOCKER}.container.image.v1+json"})
"""The media types of configs, OCI's and Docker's."""

MANIFEST_MEDIA_TYPES: Final = frozenset(
    {MANIFEST_MEDIA_TYPE, f"{_DOCKER}.distribution.manifest.v2+json"}
)
"""The media types of manifests, OCI's and Docker's."""

INDEX_MEDIA_TYPES: Final = frozenset(
    {INDEX_MEDIA_TYPE, f"{_DOCKER}.distribution.manifest.list.v2+json"}
)
"""The media types of indexes, OCI's and Docker's."""

_FOREIGN: Final = f"{_OCI}.layer.nondistributable.v1.tar"

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
"""The media types of layers, each with the compression that it declares."""


def layer_media_type(coding: Coding) -> str:
    """Return the media type of a layer that is compressed with `coding`."""
    return LAYER_MEDIA_TYPE if coding is Coding.NONE else f"{LAYER_MEDIA_TYPE}+{coding}"
