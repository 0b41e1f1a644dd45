"""The Layer interface: everything that an image can be assembled from.

A layer that is created here is packed from a tar; a layer that exists already, in a base image,
is passed on as it is. Both answer the same questions, and nobody asks which of them it is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

from nixdock.layers.compressors import Compression
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.system.buffers import Write

__all__ = ["OWN_FILES_HISTORY", "PLAIN_PACKING", "Layer", "Packing", "SizedBlob"]

OWN_FILES_HISTORY: Final = LayerHistory("nixdock", "the image's own files")


@dataclass(frozen=True, slots=True)
class Packing:
    """How to pack a layer.

    `compression` is for created layers, with `threads` compressing; a layer that exists keeps its
    own. With `hash_aside`, another thread hashes while this one reads.
    """

    compression: Compression = Compression.NONE
    threads: int = 1
    hash_aside: bool = False


PLAIN_PACKING: Final = Packing()


class SizedBlob(Protocol):
    """A layer's blob whose size is known before a byte of it is written."""

    @property
    def size(self) -> int:
        """The size of the blob in bytes."""

    def write_to(self, write: Write, /) -> object:
        """Write the blob."""

    def described(self, digest: str) -> LayerBlob:
        """Return the blob that was written, given the digest of the bytes that `write_to` wrote.

        Raise ImageError if these are not the bytes that an existing layer promised.
        """


class Layer(Protocol):
    """A layer to be."""

    @property
    def history(self) -> LayerHistory:
        """What made the layer, and what is in it."""

    @property
    def weight(self) -> int:
        """Roughly how many bytes packing has to read: the heaviest layer is packed first."""

    @property
    def diff_id(self) -> str | None:
        """The digest of the uncompressed tar, or None if only packing tells."""

    def sized(self, media_types: Collection[str], /) -> SizedBlob:
        """Return the blob with its exact size, as it is if its type is one of `media_types`.

        Otherwise, and for a layer that is created, the blob is the uncompressed tar.
        """

    def pack(self, write: Write | None, packing: Packing = PLAIN_PACKING, /) -> LayerBlob:
        """Write the blob, or only compute its digests if `write` is None; return what was packed.

        The layer's bytes are read once. Raise PackError if a file can't be read or changes,
        ImageError if an existing layer is damaged.
        """
