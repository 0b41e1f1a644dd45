"""What is served of images: of those that are being built, and of those that exist."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from nixdock.errors import ImageError
from nixdock.layers.compressors import Compression, load_encoder
from nixdock.layers.hashed import CHUNK, VerifiedReader
from nixdock.layers.known import existing_layers, known_layers
from nixdock.layers.known_cache import KnownCache
from nixdock.layers.layer import Layer
from nixdock.layers.pack import pack, pack_all
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.registry_reference import RegistryReference
from nixdock.runtime.catalogue import Document, Offer, ServedBlob
from nixdock.runtime.shelf import Shelf
from nixdock.system.cores import available_cores
from nixdock.system.writers import FileWriter
from nixdock.transfer.known import Known
from nixdock.transfer.opening import Selection, open_source
from nixdock.transfer.tree import Tree
from nixdock.write.buildable import Buildable

if TYPE_CHECKING:
    from nixdock.oci.location import Location
    from nixdock.oci.reference import Reference
    from nixdock.registry.access import Access
    from nixdock.transfer.source import Source

__all__ = ["NamedBuildable", "offer_build", "offer_location"]

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


@contextmanager
def offer_location(
    location: Location, shelf: Shelf, *, access: Access | None = None, compress: bool = True
) -> Iterator[Offer]:
    """Yield an image that exists, as it is, until the block ends.

    A docker-archive has no manifest: one is made, and with `compress`, its layers are compressed.
    Raise what `open_source` raises.
    """
    remote = isinstance(location, RegistryReference)
    with open_source(location, Selection(), access, compress=compress) as opened:
        source, tree = opened.source, opened.tree
        blobs: dict[str, ServedBlob] = {
            each.digest: _CopiedBlob(source, each.digest, each.size, shelf if remote else None)
            for each in tree.all_blobs()
        }
        yield Offer(
            names=opened.names,
            manifest=tree.manifest,
            manifests={each.digest: each for each in tree.all_manifests()},
            blobs=blobs,
            config=_config(tree),
        )


def _config(tree: Tree) -> str | None:
    """Return the digest of the config, which is the last blob, or None for an index."""
    return tree.blobs[-1].digest if tree.blobs else None


@dataclass(frozen=True, slots=True)
class _CopiedBlob:
    """A blob of an existing image; one from a registry goes through a file of the shelf."""

    source: Source
    digest: str
    size: int
    shelf: Shelf | None

    def open(self) -> io.RawIOBase:
        if self.shelf is None:
            return self.source.open(self.digest)
        return self.shelf.open(self.digest, self.size, self._make)

    def _make(self, file: Path) -> None:
        place = f"{self.source.place}: the blob {self.digest}"
        with (
            VerifiedReader(self.source.open(self.digest), place, self.digest, self.size) as stream,
            FileWriter(file) as writer,
        ):
            while chunk := stream.read(CHUNK):
                writer.write(chunk)
                if self.shelf is not None:
                    self.shelf.check_open()
