"""Write an OCI image layout in a directory (image-spec, image-layout.md)."""

from __future__ import annotations

from pathlib import Path

from nixdock.oci.digests import hex_of
from nixdock.oci.image import Image
from nixdock.oci.layout import BLOBS, INDEX, LAYOUT, MARKER, MARKER_DATA
from nixdock.system.atomic import whole_directory
from nixdock.system.writers import FileWriter
from nixdock.write.buildable import Assemble, PackInto

__all__ = ["write_oci_layout"]


def write_oci_layout(target: Path, pack_into: PackInto, assemble: Assemble) -> Image:
    """Write an image as the directory `target` and return it.

    Raise OutputError if `target` is not an earlier layout, has other files or can't be written.
    """
    with whole_directory(target, LAYOUT) as directory:
        blobs = directory / BLOBS
        blobs.mkdir(parents=True)
        image = assemble(pack_into(blobs))
        for blob in image.documents:
            _write_file(blobs / hex_of(blob.digest), blob.data)
        _write_file(directory / MARKER, MARKER_DATA)
        _write_file(directory / INDEX, image.index())
    return image


def _write_file(file: Path, data: bytes) -> None:
    with FileWriter(file) as writer:
        writer.write(data)
