"""The names in an OCI image layout and in a docker-archive."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = [
    "BLOBS",
    "CONTAINERD_NAME",
    "DOCKER_MANIFEST",
    "INDEX",
    "MARKER",
    "MARKER_DATA",
    "REF_NAME",
    "Format",
]


MARKER: Final = "oci-layout"


MARKER_DATA: Final = b'{"imageLayoutVersion":"1.0.0"}'


INDEX: Final = "index.json"


BLOBS: Final = "blobs/sha256"


DOCKER_MANIFEST: Final = "manifest.json"


REF_NAME: Final = "org.opencontainers.image.ref.name"


CONTAINERD_NAME: Final = "io.containerd.image.name"


class Format(StrEnum):
    """The forms in which an image can be written."""

    ARCHIVE = "archive"
    DOCKER_ARCHIVE = "docker-archive"
    OCI_ARCHIVE = "oci-archive"
    OCI_LAYOUT = "oci-layout"
