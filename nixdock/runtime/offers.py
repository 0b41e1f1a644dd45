"""What is served of images that are being built."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from nixdock.errors import ImageError
from nixdock.layers.compression import Compression
from nixdock.layers.compressors import load_encoder
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

__all__ = ["NamedBuildable", "PackedLayers", "ServedBuild"]

# A weight is only about the size of a file. What is packed without a file takes no space, but has
# to be packed again when it is asked for.
_SHARE_PACKED_AHEAD: Final = 0.5


class NamedBuildable(Buildable, Protocol):
    """An image with names whose layers have not been packed yet."""

    @property
    def references(self) -> Sequence[Reference]:
        """The names of the image."""


class PackedLayers(Struct, frozen=True):
    """The layers of an image; `files` has the sizes, by digest, of those in the shelf's files."""

    blobs: tuple[LayerBlob, ...]
    files: Mapping[str, int]


class ServedBuild(Struct, frozen=True):
    """An image that is being built; a layer is packed when it is first asked for.

    The digests of layers that `cache` knows are taken from there, and no file of theirs is read.
    """

    build: NamedBuildable
    shelf: Shelf
    compression: Compression
    cache: KnownCache

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the image."""
        return tuple(map(str, self.build.references))

    @property
    def is_settled(self) -> bool:
        """Whether all digests are known."""
        return len(self._known()) == len(self.build.layers)

    def pack(self, progress: Progress = NO_PROGRESS) -> PackedLayers:
        """Pack the layers that are not known: into files of the shelf if there is room.

        The cache learns their digests. Raise what `Layer.pack` raises.
        """
        layers, known = self.build.layers, self._known()
        progress.start([layer.weight for layer in layers])
        unknown = [i for i in range(len(layers)) if i not in known]
        weight = sum(layers[i].weight for i in unknown)
        ahead = self.shelf.directory if weight <= self.shelf.room * _SHARE_PACKED_AHEAD else None
        blobs = pack_all(layers, ahead, self.compression, progress=progress, known=known)
        files = {} if ahead is None else {blobs[i].digest: blobs[i].size for i in unknown}
        self.cache.add(blobs[i] for i in unknown)
        self.keep(files)
        return PackedLayers(tuple(blobs), files)

    def keep(self, files: Mapping[str, int]) -> None:
        """Let the shelf have the files that `pack` made, maybe in another process."""
        for digest, size in files.items():
            self.shelf.adopt(digest, size)

    def offer(self, blobs: Sequence[LayerBlob]) -> Offer:
        """Return what is served of the image that consists of the packed layers."""
        load_encoder(self.compression)
        image = self.build.assemble(blobs)
        served: dict[str, ServedBlob] = {
            blob.digest: _PackedBlob(layer, blob, self.compression, self.shelf, self.cache)
            for layer, blob in zip(self.build.layers, blobs, strict=True)
        }
        served[image.config.digest] = Document(image.config.data)
        return Offer(
            names=self.names,
            manifest=image.manifest,
            manifests={image.manifest.digest: image.manifest},
            blobs=served,
            config=image.config.digest,
            layers=tuple(image.layers),
        )

    def settled(self, progress: Progress = NO_PROGRESS) -> Offer:
        """Pack the layers that are not known, and return what is served; raise as `pack` does."""
        return self.offer(self.pack(progress).blobs)

    def _known(self) -> dict[int, LayerBlob]:
        known = Known()
        known.add_cached(self.build.layers, self.compression, self.cache)
        expected = known_layers(self.build.layers, self.compression, known.blobs)
        return expected | existing_layers(self.build.layers, expected)


class _PackedBlob(Struct, frozen=True):
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
