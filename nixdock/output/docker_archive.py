"""A docker-archive: layer tars, a config and a `manifest.json` in one tar.

It is written in a single pass, and the store is read once: a layer's size is known from its
files' sizes, and its digest is needed only by the config and the manifest, which stand last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from nixdock.background import in_background
from nixdock.digest import Hashing, Write, hex_of
from nixdock.errors import PackError
from nixdock.image import Image
from nixdock.layer import BlobLayer, LayerSource
from nixdock.output.member import ArchiveWriter
from nixdock.output.oci_layout import Assemble
from nixdock.pack import LAYER_MEDIA_TYPE

__all__ = ["write_docker_archive"]


def write_docker_archive(
    write: Write,
    sources: Sequence[LayerSource],
    assemble: Assemble,
    *,
    mtime: int,
    on_layer: Callable[[int, BlobLayer], object] = lambda _index, _layer: None,
) -> Image:
    """Pack `sources` into an archive that is handed to `write`; return the image."""
    archive = ArchiveWriter(write, mtime)
    layers: list[BlobLayer] = []
    paths: list[str] = []
    for i, source in enumerate(sources):
        size, write_tar = source.measure()
        path = f"{i:03d}/layer.tar"
        hashed = archive.add_written(path, size, partial(_hashed, write_tar))
        if hashed.size != size:
            raise PackError(f"layer {i} has {hashed.size} bytes, but {size} were expected")
        layer = BlobLayer(hashed.digest, hashed.digest, size, LAYER_MEDIA_TYPE, source.history)
        layers.append(layer)
        paths.append(path)
        on_layer(i, layer)
    image = assemble(layers)
    config_path = f"{hex_of(image.config.digest)}.json"
    archive.add(config_path, image.config.data)
    archive.add("manifest.json", image.docker_manifest(config_path, paths))
    archive.finish()
    return image


def _hashed(write_tar: Callable[[Write], object], write: Write) -> Hashing:
    hashing = Hashing(write)
    with in_background(hashing.write) as hash_later:
        write_tar(hash_later)
    return hashing
