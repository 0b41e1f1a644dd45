"""The Layer interface: images are assembled from layers, whether new or already existing.

A new layer is packed from a tar; an existing layer, such as one of a base image, is passed on
unchanged. Code that assembles or writes images does not need to know which kind it has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, Protocol

from msgspec import Struct

from nixdock.layers.compression import Compression
from nixdock.layers.keys import blob_key
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.media_types import LAYER_MEDIA_TYPE
from nixdock.system.buffers import Write
from nixdock.tar.header import Entry

__all__ = [
    "OWN_FILES_HISTORY",
    "PLAIN_PACKING",
    "Layer",
    "ListedLayer",
    "Packing",
    "SizedBlob",
    "plain_blob",
]

OWN_FILES_HISTORY: Final = LayerHistory("nixdock: the image's own files", "the image's own files")


class Packing(Struct, frozen=True):
    """How to pack a layer.

    `compression`, which uses `threads` threads, applies to new layers; an existing layer keeps its
    own compression. With `hash_aside`, a second thread hashes while the calling thread reads.
    `advance` is called, now and then, with the number of bytes so far: those of a new layer's tar
    or of an existing layer's blob.
    """

    compression: Compression = Compression.NONE
    threads: int = 1
    hash_aside: bool = False
    advance: Callable[[int], object] | None = None


PLAIN_PACKING: Final = Packing()


class SizedBlob(Protocol):
    """A layer's blob whose size is known before its first byte is written."""

    @property
    def size(self) -> int:
        """The size of the blob in bytes."""

    def write_to(self, write: Write, /) -> object:
        """Write the blob."""

    def described(self, digest: str) -> LayerBlob:
        """Return the description of the blob, given the digest of the bytes that were written.

        Call it after `write_to`. Raise ImageError if an existing layer turned out to be damaged.
        """


class Layer(Protocol):
    """A layer of an image that is being assembled."""

    @property
    def history(self) -> LayerHistory:
        """The layer's history entry: its creator, and a comment on its contents."""

    @property
    def weight(self) -> int:
        """Roughly the number of bytes that packing reads; the heaviest layer is packed first."""

    @property
    def diff_id(self) -> str | None:
        """The digest of the uncompressed tar, or None if it is not known before packing."""

    @property
    def key(self) -> str | None:
        """What determines the tar, as a digest, or None if only the tar itself does."""

    @property
    def is_remote(self) -> bool:
        """Whether packing waits for files that another machine sends."""

    @property
    def existing_digest(self) -> str | None:
        """The digest of the blob of an existing layer, or None if only reading it would tell."""

    @property
    def existing_annotations(self) -> Mapping[str, str]:
        """The annotations that describe the blob of an existing layer, or none."""

    def existing_blob(self) -> LayerBlob | None:
        """Return the blob with `existing_digest` as it will be packed, unverified, or None."""

    def names(self) -> Iterable[bytes]:
        """Return the names of the tar's members, in order; those in a store path may be missing.

        Of a new layer, no contents of a file are read; an existing layer is read and verified.
        Raise what `pack` raises.
        """

    def tar_pieces(self) -> Iterator[memoryview] | None:
        """Return the pieces of the uncompressed tar, or None if only `pack` makes them.

        They raise what `pack` raises.
        """

    def sized(self, media_types: Collection[str], /) -> SizedBlob:
        """Return the blob with its exact size.

        An existing blob is used unchanged if its media type is in `media_types`. Otherwise, and for
        a new layer, the blob is the uncompressed tar.
        """

    def pack(self, write: Write | None, packing: Packing = PLAIN_PACKING, /) -> LayerBlob:
        """Write the blob and return its description; if `write` is None, only compute the digests.

        The layer's bytes are read at most once. Raise PackError if a file can't be read or changes
        while it is read, ImageError if an existing layer is damaged.
        """


def plain_blob(layer: Layer, digest: str, size: int) -> LayerBlob:
    """Return the description of a new layer's uncompressed tar, given its digest and size."""
    blob = LayerBlob(digest, digest, size, LAYER_MEDIA_TYPE, layer.history, tar_size=size)
    return replace(blob, key=blob_key(layer.key, Compression.NONE, digest))


class ListedLayer(Layer, Protocol):
    """A new layer whose members are known before it is packed."""

    def entries(self) -> Iterable[Entry]:
        """Return the members in order; each call reads them again."""
