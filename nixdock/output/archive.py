"""An OCI layout in a tar, which can be a docker-archive at the same time.

The descriptions stand first, for readers that stream. With `manifest.json` beside `index.json`
and pointing into the same blobs, Docker reads the archive as its own, and everyone else as OCI.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nixdock.atomic import temporary_directory, whole_file
from nixdock.digest import Write, hex_of
from nixdock.image import Image
from nixdock.layer import Layer
from nixdock.output.member import ArchiveWriter
from nixdock.output.oci_layout import BLOBS, INDEX, MARKER, MARKER_DATA, Assemble, PackInto

__all__ = ["write_archive"]

_CHUNK: Final = 1 << 20


def write_archive(
    target: Path, pack_into: PackInto, assemble: Assemble, *, docker: bool, mtime: int
) -> Image:
    """Write an image as the file `target` and return it; `docker` makes it a docker-archive too."""
    with temporary_directory(target) as blobs, whole_file(target) as file:
        image = assemble(pack_into(blobs))
        archive = ArchiveWriter(file.write, mtime)
        archive.add(MARKER, MARKER_DATA)
        archive.add(INDEX, image.index())
        if docker:
            layer_paths = (_blob_path(layer.digest) for layer in image.layers)
            manifest = image.docker_manifest(_blob_path(image.config.digest), layer_paths)
            archive.add("manifest.json", manifest)
        for blob in (image.manifest, image.config):
            archive.add(_blob_path(blob.digest), blob.data)
        for layer in {layer.digest: layer for layer in image.layers}.values():
            with archive.member(_blob_path(layer.digest), layer.size) as write:
                _copy(layer, write)
            # The store's bytes stand on disk twice for no longer than they must.
            (blobs / hex_of(layer.digest)).unlink(missing_ok=True)
        archive.finish()
    return image


def _blob_path(digest: str) -> str:
    return f"{BLOBS}/{hex_of(digest)}"


def _copy(layer: Layer, write: Write) -> None:
    with layer.open() as stream:
        while chunk := stream.read(_CHUNK):
            write(chunk)
