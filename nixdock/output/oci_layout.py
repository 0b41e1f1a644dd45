"""An OCI image layout in a directory (image-spec, image-layout.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from nixdock.atomic import FileWriter, whole_directory
from nixdock.digest import hex_of
from nixdock.image import Image
from nixdock.layer import Layer

__all__ = ["BLOBS", "INDEX", "MARKER", "MARKER_DATA", "Assemble", "PackInto", "write_oci_layout"]

MARKER: Final = "oci-layout"
MARKER_DATA: Final = b'{"imageLayoutVersion":"1.0.0"}'
INDEX: Final = "index.json"
BLOBS: Final = "blobs/sha256"

PackInto = Callable[[Path], Sequence[Layer]]
"""Pack all layers into blobs in a directory, named by the hexadecimal digits of their digests."""

Assemble = Callable[[Sequence[Layer]], Image]
"""Describe settled layers as an image."""


def write_oci_layout(target: Path, pack_into: PackInto, assemble: Assemble) -> Image:
    """Write an image as the directory `target` and return it."""
    with whole_directory(target, MARKER) as directory:
        blobs = directory / BLOBS
        blobs.mkdir(parents=True)
        image = assemble(pack_into(blobs))
        for blob in (image.config, image.manifest):
            _write_file(blobs / hex_of(blob.digest), blob.data)
        _write_file(directory / MARKER, MARKER_DATA)
        _write_file(directory / INDEX, image.index())
    return image


def _write_file(file: Path, data: bytes) -> None:
    with FileWriter(file) as writer:
        writer.write(data)
