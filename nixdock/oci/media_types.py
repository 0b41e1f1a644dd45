"""The media types of images, as the image-spec and Docker name them."""

from __future__ import annotations

from typing import Final

from nixdock.oci.coding import Coding

__all__ = [
    "CONFIG_MEDIA_TYPE",
    "CONFIG_MEDIA_TYPES",
    "DOCKER_LAYER",
    "INDEX_MEDIA_TYPE",
    "INDEX_MEDIA_TYPES",
    "LAYER_CODINGS",
    "LAYER_MEDIA_TYPE",
    "MANIFEST_MEDIA_TYPE",
    "MANIFEST_MEDIA_TYPES",
    "layer_media_type",
]


LAYER_MEDIA_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"


CONFIG_MEDIA_TYPE: Final = "application/vnd.oci.image.config.v1+json"


MANIFEST_MEDIA_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"


INDEX_MEDIA_TYPE: Final = "application/vnd.oci.image.index.v1+json"


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
