"""The file names of OCI image layouts and docker-archives, and the annotations that name images."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NoReturn

from nixdock.errors import InputError
from nixdock.system.directory_form import DirectoryForm

__all__ = [
    "BLOBS",
    "CONTAINERD_NAME",
    "DIR_VERSION",
    "DOCKER_MANIFEST",
    "INDEX",
    "LAYOUT",
    "LAYOUT_DIRECTORIES",
    "MARKER",
    "MARKER_DATA",
    "REF_NAME",
    "Format",
]

MARKER: Final = "oci-layout"
"""The file that marks a directory as an OCI layout (image-spec, image-layout.md)."""

MARKER_DATA: Final = b'{"imageLayoutVersion":"1.0.0"}'
"""The contents of MARKER."""

INDEX: Final = "index.json"
"""The image index of an OCI layout."""

BLOBS: Final = "blobs/sha256"
"""The directory of an OCI layout's blobs, which are named by the hex digits of their digests."""

LAYOUT_DIRECTORIES: Final = ("blobs", BLOBS)
"""The directories of an OCI layout, each before those in it."""

LAYOUT: Final = DirectoryForm(MARKER, re.compile("blobs(/[^/]+(/[0-9a-f]{32,})?)?"), INDEX)
"""An OCI layout as an output: its blobs, also those of other algorithms, and what leads to them."""

DOCKER_MANIFEST: Final = "manifest.json"
"""The list of images in a docker-archive."""

DIR_VERSION: Final = "version"
"""The file that marks a directory as an image in skopeo's dir: transport."""

REF_NAME: Final = "org.opencontainers.image.ref.name"
"""The annotation that names an image within a layout (image-spec, annotations.md)."""

CONTAINERD_NAME: Final = "io.containerd.image.name"
"""The annotation with the full name under which containerd imports an image."""


class Format(StrEnum):
    """The forms in which an image can be written; of another text, InputError is raised."""

    ARCHIVE = "archive"
    DOCKER_ARCHIVE = "docker-archive"
    OCI_ARCHIVE = "oci-archive"
    OCI_LAYOUT = "oci-layout"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise InputError(f"there is no format {value!r}; choose from {', '.join(cls)}")
