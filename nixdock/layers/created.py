"""Layers that are created here: a subclass gives the tar, this module packs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nixdock.layers.compressors import Compression, compressor
from nixdock.layers.layer import PLAIN_PACKING, Packing
from nixdock.oci.digests import Hashing
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.media_types import LAYER_MEDIA_TYPE
from nixdock.system.background import in_background
from nixdock.system.buffers import Write
from nixdock.tar.fields import padded_size
from nixdock.tar.header import Entry, Headers, MemberMeta
from nixdock.tar.write import write_tar

__all__ = ["CreatedLayer", "EntryLayer", "SizedTar"]

_MOST_HELD: Final = 200_000


@dataclass(frozen=True, slots=True)
class SizedTar:
    """The uncompressed tar of a created layer; `write_to` writes exactly `size` bytes."""

    size: int
    history: LayerHistory
    write_to: Callable[[Write], object]

    def described(self, digest: str) -> LayerBlob:
        """Return the tar as a blob."""
        return LayerBlob(digest, digest, self.size, LAYER_MEDIA_TYPE, self.history)


class CreatedLayer(ABC):
    """A layer that is packed from a tar."""

    __slots__ = ()

    if TYPE_CHECKING:
        # Subclasses are dataclasses, and a property here would be taken for a field's default.
        @property
        def history(self) -> LayerHistory:
            """What made the layer, and what is in it."""

    @property
    def diff_id(self) -> str | None:
        """None: only writing the tar tells its digest."""
        return None

    @abstractmethod
    def write_tar(self, write: Write) -> object:
        """Write the tar; raise PackError if a file can't be read or changes meanwhile."""

    @abstractmethod
    def measured_tar(self) -> SizedTar:
        """Return the tar with its exact size."""

    def sized(self, _media_types: Collection[str], /) -> SizedTar:
        """Return the uncompressed tar with its exact size."""
        return self.measured_tar()

    def pack(self, write: Write | None, packing: Packing = PLAIN_PACKING, /) -> LayerBlob:
        """Pack the tar in one pass: read, hash, compress, hash and write."""
        blob = Hashing(write)
        if packing.compression is Compression.NONE:
            tar, compressing = blob, None
        else:
            compressing = compressor(packing.compression, blob.write, packing.threads)
            tar = Hashing(compressing.write)
        with in_background(tar.write) if packing.hash_aside else nullcontext(tar.write) as out:
            self.write_tar(out)
        if compressing is not None:
            compressing.finish()
        return LayerBlob(
            diff_id=tar.digest,
            digest=blob.digest,
            size=blob.size,
            media_type=LAYER_MEDIA_TYPE + packing.compression.media_type_suffix,
            history=self.history,
        )


class EntryLayer(CreatedLayer):
    """A layer whose tar consists of entries."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def meta(self) -> MemberMeta:
            """The time and owner that the members share."""

    @abstractmethod
    def entries(self) -> Iterable[Entry]:
        """Return the members in their order; each call walks the files anew."""

    def write_tar(self, write: Write) -> object:
        """Write the tar of the entries."""
        return write_tar(self.entries(), Headers(self.meta), write)

    def measured_tar(self) -> SizedTar:
        """Return the tar with its size, which the entries tell without a file being read."""
        headers = Headers(self.meta)
        size = 0
        held: list[Entry] | None = []
        for entry in self.entries():
            size += headers.member_size(entry)
            if held is not None:
                held.append(entry)
                # A larger tree is walked twice rather than held in memory.
                held = held if len(held) < _MOST_HELD else None
        again = self.entries if held is None else held.copy
        return SizedTar(
            padded_size(size), self.history, lambda write: write_tar(again(), headers, write)
        )
