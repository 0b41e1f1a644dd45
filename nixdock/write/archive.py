"""Write an OCI layout in a tar, which can be a docker-archive at the same time.

The documents come first, for streaming readers. If `manifest.json` is next to `index.json` and
refers to the same blobs, Docker reads the archive as a docker-archive and other tools as a layout.
"""

from __future__ import annotations

from pathlib import Path

from nixdock.oci.digests import hex_of
from nixdock.oci.image import Image
from nixdock.oci.layout import (
    BLOBS,
    DOCKER_MANIFEST,
    INDEX,
    LAYOUT_DIRECTORIES,
    MARKER,
    MARKER_DATA,
)
from nixdock.system.atomic import whole_file
from nixdock.system.scratch import temporary_directory
from nixdock.write.buildable import Assemble, PackInto
from nixdock.write.member import ArchiveWriter

__all__ = ["write_archive"]


def write_archive(
    target: Path, pack_into: PackInto, assemble: Assemble, *, docker: bool, mtime: int
) -> Image:
    """Write an image as the file `target` and return it; `docker` makes it a docker-archive too."""
    with temporary_directory(target) as blobs, whole_file(target) as file:
        image = assemble(pack_into(blobs))
        archive = ArchiveWriter(file.write, mtime)
        # skopeo unpacks the archive, and can't create missing directories unless it runs as root.
        for directory in LAYOUT_DIRECTORIES:
            archive.add_directory(directory)
        archive.add(MARKER, MARKER_DATA)
        archive.add(INDEX, image.index())
        if docker:
            layer_paths = (_blob_path(layer.digest) for layer in image.layers)
            manifest = image.docker_manifest(_blob_path(image.config.digest), layer_paths)
            archive.add(DOCKER_MANIFEST, manifest)
        for blob in image.documents:
            archive.add(_blob_path(blob.digest), blob.data)
        for layer in {layer.digest: layer for layer in image.layers}.values():
            blob_file = blobs / hex_of(layer.digest)
            archive.add_file(_blob_path(layer.digest), blob_file, layer.size)
            # Free the disk space at once: the blob is also in the archive now.
            blob_file.unlink()
        archive.finish()
    return image


def _blob_path(digest: str) -> str:
    return f"{BLOBS}/{hex_of(digest)}"
