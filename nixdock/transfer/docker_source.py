"""An image of a docker-archive as a source: it has no manifest, so that one is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nixdock.coding.codings import Coding
from nixdock.layers.compression import Compression
from nixdock.layers.compressors import compressor
from nixdock.layers.hashed import CHUNK
from nixdock.layers.passed_on import PassedOnLayer
from nixdock.oci.descriptor import Blob
from nixdock.oci.digests import Hashing, hex_of
from nixdock.oci.image import manifest_of
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.layout import BLOBS
from nixdock.oci.media_types import CONFIG_MEDIA_TYPE, layer_media_type
from nixdock.read.directory import Directory
from nixdock.read.stored import StoredImage
from nixdock.read.stored_layer import StoredLayer
from nixdock.system.buffers import Write
from nixdock.system.cores import available_cores
from nixdock.system.scratch import temporary_directory
from nixdock.system.writers import FileWriter
from nixdock.transfer.source import LayoutSource

__all__ = ["packed_source"]


@contextmanager
def packed_source(
    image: StoredImage, place: str, *, compress: bool
) -> Iterator[tuple[LayoutSource, Blob]]:
    """Yield the image as a layout in temporary files, and its manifest.

    With `compress`, layers that are not compressed get the bytes that nixdock's gzip gives them.
    Raise ImageError if a layer is damaged.
    """
    with temporary_directory() as directory:
        blobs = directory / BLOBS
        blobs.mkdir(parents=True)
        layers = [_packed(layer, blobs, compress=compress) for layer in image.layers]
        config = Blob(CONFIG_MEDIA_TYPE, image.config_data)
        manifest = manifest_of(config, layers)
        for blob in (config, manifest):
            with FileWriter(blobs / hex_of(blob.digest)) as writer:
                writer.write(blob.data)
        yield LayoutSource(Directory(directory), place), manifest


def _packed(layer: StoredLayer, blobs: Path, *, compress: bool) -> LayerBlob:
    """Write a layer to a file that is named by its digest."""
    file = blobs / "unfinished"
    with FileWriter(file) as writer:
        if compress and layer.coding is Coding.NONE:
            blob = _compressed(layer, writer.write)
        else:
            blob = PassedOnLayer.of(layer).pack(writer.write)
    file.replace(blobs / hex_of(blob.digest))
    return blob


def _compressed(layer: StoredLayer, write: Write) -> LayerBlob:
    hashing = Hashing(write)
    with (
        layer.open_tar() as tar,
        compressor(Compression.GZIP, hashing.write, available_cores()) as stream,
    ):
        while chunk := tar.read(CHUNK):
            stream.write(chunk)
    media_type = layer_media_type(Coding.GZIP)
    return LayerBlob(layer.diff_id, hashing.digest, hashing.size, media_type, layer.history)
