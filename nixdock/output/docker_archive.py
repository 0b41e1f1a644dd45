"""A docker-archive: layer tars, a config and a `manifest.json` in one tar.

It is written in a single pass, and the store is read once: a layer's size is known from its
files' sizes, and its digest is needed only by the config and the manifest, which stand last.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from nixdock.background import Background
from nixdock.digest import Hashing, Write, hex_of
from nixdock.errors import PackError
from nixdock.image import Image
from nixdock.layer import BlobLayer, FinishedLayer, Source
from nixdock.output.member import ArchiveWriter
from nixdock.output.oci_layout import Assemble
from nixdock.pack import LAYER_MEDIA_TYPE, OnLayer

__all__ = ["as_docker_reads", "write_docker_archive"]


def write_docker_archive(
    write: Write,
    sources: Sequence[Source],
    assemble: Assemble,
    *,
    mtime: int,
    on_layer: OnLayer = lambda _index, _layer: None,
) -> Image:
    """Pack `sources` into an archive that is handed to `write`; return the image.

    Layers are hashed, and `write` and `on_layer` called, in another thread than files are read.
    """
    layers: dict[int, BlobLayer] = {}

    def finish(i: int, hashing: Hashing, size: int, _data: object) -> None:
        if hashing.size != size:
            raise PackError(f"layer {i} has {hashing.size} bytes, but {size} were expected")
        history = sources[i].history
        layers[i] = BlobLayer(hashing.digest, hashing.digest, size, LAYER_MEDIA_TYPE, history)
        on_layer(i, layers[i])

    with Background() as background:
        archive = ArchiveWriter(partial(background.later, write), mtime)
        paths = []
        for i, source in enumerate(sources):
            path = f"{i:03d}/layer.tar"
            paths.append(path)
            if isinstance(source, FinishedLayer):
                readable = as_docker_reads(source)
                with archive.member(path, readable.size) as write_later:
                    layers[i] = readable.copy(write_later)
                on_layer(i, layers[i])
                continue
            size, write_tar = source.measure()
            hashing = Hashing(write)
            # What is hashed goes the way of what the archive itself writes, in order with it.
            with archive.member(path, size):
                write_tar(partial(background.later, hashing.write))
            background.later(partial(finish, i, hashing, size), b"")
        background.wait()
        image = assemble([layers[i] for i in range(len(sources))])
        config_path = f"{hex_of(image.config.digest)}.json"
        archive.add(config_path, image.config.data)
        archive.add("manifest.json", image.docker_manifest(config_path, paths))
        archive.finish()
    return image


def as_docker_reads(layer: FinishedLayer) -> FinishedLayer:
    """Return `layer`, uncompressed where a docker-archive's readers would not know what it is."""
    if layer.media_type in {LAYER_MEDIA_TYPE, f"{LAYER_MEDIA_TYPE}+gzip"}:
        return layer
    return layer.expand()
