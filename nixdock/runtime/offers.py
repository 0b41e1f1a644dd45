"""What is served of images that are being built."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from nixdock.errors import ImageError
from nixdock.layers.compressors import Compression, load_encoder
from nixdock.layers.known import existing_layers, known_layers
from nixdock.layers.known_cache import KnownCache
from nixdock.layers.layer import Layer
from nixdock.layers.pack import pack, pack_all
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.oci.layer_blob import LayerBlob
from nixdock.runtime.catalogue import Document, Offer, ServedBlob
from nixdock.runtime.shelf import Shelf
from nixdock.system.cores import available_cores
from nixdock.transfer.known import Known
from nixdock.write.buildable import Buildable

if TYPE_CHECKING:
    from nixdock.oci.reference import Reference

__all__ = ["NamedBuildable", "offer_build"]

# A weight is only about the size of a file. What is packed without a file takes no space, but has
# to be packed again when it is asked for.
_SHARE_PACKED_AHEAD: Final = 0.5


class NamedBuildable(Buildable, Protocol):
    """An image with names whose layers have not been packed yet."""

    @property
    def references(self) -> Sequence[Reference]:
        """The names of the image."""


def offer_build(
    build: NamedBuildable,
    shelf: Shelf,
    compression: Compression,
    cache: KnownCache,
    progress: Progress = NO_PROGRESS,
) -> Offer:
    """Return an image that is being built; a layer is packed when it is first asked for.

    The digests of layers that `cache` knows are taken from there, and no file of theirs is read.
    The other layers are packed now: into files of the shelf if there is room. Raise what
    `Layer.pack` raises.
    """
    known = Known()
    known.add_cached(build.layers, compression, cache)
    expected = known_layers(build.layers, compression, known.blobs)
    expected |= existing_layers(build.layers, expected)
    load_encoder(compression)
    progress.start([layer.weight for layer in build.layers])
    unknown = [i for i in range(len(build.layers)) if i not in expected]
    weight = sum(build.layers[i].weight for i in unknown)
    ahead = shelf.directory if weight <= shelf.room * _SHARE_PACKED_AHEAD else None
    blobs = pack_all(build.layers, ahead, compression, progress=progress, known=expected)
    if ahead is not None:
        for digest, size in {blobs[i].digest: blobs[i].size for i in unknown}.items():
            shelf.adopt(digest, size)
    cache.add(blobs[i] for i in unknown)
    image = build.assemble(blobs)
    served: dict[str, ServedBlob] = {
        blob.digest: _PackedBlob(layer, blob, compression, shelf, cache)
        for layer, blob in zip(build.layers, blobs, strict=True)
    }
    served[image.config.digest] = Document(image.config.data)
    return Offer(
        names=tuple(map(str, build.references)),
        manifest=image.manifest,
        manifests={image.manifest.digest: image.manifest},
        blobs=served,
        config=image.config.digest,
        layers=tuple(image.layers),
    )


@dataclass(frozen=True, slots=True)
class _PackedBlob:
    """A layer that is packed into a file of the shelf when it is asked for."""

    layer: Layer
    blob: LayerBlob
    compression: Compression
    shelf: Shelf
    cache: KnownCache

    @property
    def size(self) -> int:
        return self.blob.size

    def open(self) -> io.RawIOBase:
        return self.shelf.open(self.blob.digest, self.blob.size, self._make)

    def _make(self, file: Path) -> None:
        compression, threads = self.compression, available_cores()
        advance = self.shelf.check_open
        packed = pack(self.layer, file, compression, threads, hash_aside=True, advance=advance)
        if packed.digest != self.blob.digest:
            self.cache.add([packed])
            raise ImageError(
                f"the layer with {self.blob.history.comment} is not {self.blob.digest}, as the"
                f" cache said, but {packed.digest}; the cache is corrected, so try again",
                digest=packed.digest,
            )
