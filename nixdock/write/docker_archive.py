"""Write a docker-archive: layer tars, a config and a `manifest.json` in one tar.

The archive is written in one pass and the store is read once: the size of a layer follows from the
sizes of its files, and only the config and the manifest, which come last, need its digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from nixdock.errors import PackError
from nixdock.layers.layer import Layer, SizedBlob
from nixdock.layers.progress import NO_PROGRESS, Progress, advance_of, counted
from nixdock.oci.digests import Hashing, hex_of
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.layout import DOCKER_MANIFEST
from nixdock.oci.media_types import LAYER_MEDIA_TYPE
from nixdock.system.background import Background
from nixdock.system.buffers import Write
from nixdock.write.buildable import Assemble
from nixdock.write.member import ArchiveWriter

__all__ = ["DOCKER_READS", "blob_in_docker_archive", "write_docker_archive"]

DOCKER_READS: Final = frozenset({LAYER_MEDIA_TYPE, f"{LAYER_MEDIA_TYPE}+gzip"})
"""The media types of layers that every reader of docker-archives accepts."""


def blob_in_docker_archive(layer: Layer, packed: LayerBlob) -> LayerBlob:
    """Return the blob that an archive has of a layer, which is `packed` without compression.

    It is another one if the layer exists in a form that not every reader accepts.
    """
    if packed.media_type in DOCKER_READS:
        return packed
    return layer.sized(DOCKER_READS).described(packed.diff_id)


def write_docker_archive(
    write: Write,
    layers: Sequence[Layer],
    assemble: Assemble,
    *,
    mtime: int,
    progress: Progress = NO_PROGRESS,
) -> Image:
    """Pack `layers` into an archive, pass it to `write` and return the image.

    The calling thread reads files; another thread hashes, and calls `write` and
    `progress.packed`. Raise what `Layer.sized` and `Layer.pack` raise.
    """
    blobs: dict[int, LayerBlob] = {}

    def finish(i: int, sized: SizedBlob, hashing: Hashing, _data: object) -> None:
        blobs[i] = sized.described(hashing.digest)
        if hashing.size != sized.size:
            raise PackError(f"layer {i} has {hashing.size} bytes, but {sized.size} were expected")
        progress.packed(i, blobs[i])

    with Background() as background:
        archive = ArchiveWriter(partial(background.later, write), mtime)
        paths = []
        for i, layer in enumerate(layers):
            paths.append(f"{i:03d}/layer.tar")
            sized = layer.sized(DOCKER_READS)
            hashing = Hashing(write)
            # The layer's bytes go through the same queue as the archive's, so the order is kept.
            with archive.member(paths[-1], sized.size):
                later = partial(background.later, hashing.write)
                sized.write_to(counted(later, advance_of(progress, i)))
            background.later(partial(finish, i, sized, hashing), b"")
        background.wait()
        image = assemble([blobs[i] for i in range(len(layers))])
        config_path = f"{hex_of(image.config.digest)}.json"
        archive.add(config_path, image.config.data)
        archive.add(DOCKER_MANIFEST, image.docker_manifest(config_path, paths))
        archive.finish()
    return image
