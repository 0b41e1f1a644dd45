"""Base classes of new layers: a subclass provides the tar, `CreatedLayer` packs it."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.errors import PackError
from nixdock.layers.compression import Compression
from nixdock.layers.compressors import media_type_of
from nixdock.layers.keys import blob_key
from nixdock.layers.layer import PLAIN_PACKING, Layer, Packing
from nixdock.layers.progress import counted
from nixdock.layers.tar_encoder import tar_encoder
from nixdock.oci.digests import Hashing
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.media_types import LAYER_MEDIA_TYPE
from nixdock.system.background import in_background
from nixdock.system.buffers import Write
from nixdock.tar.faults import size_error
from nixdock.tar.fields import padded_size
from nixdock.tar.header import Entry, Headers, MemberMeta
from nixdock.tar.kinds import Kind
from nixdock.tar.write import end_of_tar, member_pieces, written

__all__ = ["CreatedLayer", "EntryLayer", "SizedTar", "check_size", "measured"]

_MOST_ENTRIES_IN_MEMORY: Final = 200_000


class SizedTar(Struct, frozen=True):
    """The uncompressed tar of a new layer; `write_to` writes exactly `size` bytes."""

    size: int
    history: LayerHistory
    write_to: Callable[[Write], object]
    key: str | None = None

    def described(self, digest: str) -> LayerBlob:
        """Return the description of the tar, given its digest."""
        blob = LayerBlob(digest, digest, self.size, LAYER_MEDIA_TYPE, self.history)
        return replace(blob, key=blob_key(self.key, Compression.NONE, digest), tar_size=self.size)


class CreatedLayer(Struct, frozen=True):
    """A new layer, packed from a tar."""

    @property
    @abstractmethod
    def history(self) -> LayerHistory:
        """The layer's history entry: its creator, and a comment on its contents."""

    @property
    @abstractmethod
    def weight(self) -> int:
        """Roughly the number of bytes that packing reads."""

    @property
    def diff_id(self) -> str | None:
        """None: the digest of the tar is not known before it is written."""
        return None

    @property
    def key(self) -> str | None:
        """None: nothing but the tar itself determines the tar."""
        return None

    @property
    def is_remote(self) -> bool:
        """False: the files are on this machine."""
        return False

    @property
    def existing_digest(self) -> str | None:
        """None: the layer is new."""
        return None

    @property
    def existing_annotations(self) -> Mapping[str, str]:
        """None: the layer is new."""
        return {}

    def existing_blob(self) -> LayerBlob | None:
        """Return None: the layer is new."""
        return None

    def tar_pieces(self) -> Iterator[memoryview] | None:
        """Return None: the tar is not made of pieces."""
        return None

    def names(self) -> Iterable[bytes]:
        """Return nothing: no member is known before the tar is written."""
        return ()

    @abstractmethod
    def write_tar(self, write: Write) -> object:
        """Write the tar; raise PackError if a file can't be read or changes while it is read."""

    @abstractmethod
    def measured_tar(self) -> SizedTar:
        """Return the tar with its exact size."""

    def sized(self, _media_types: Collection[str], /) -> SizedTar:
        """Return the uncompressed tar with its exact size."""
        return self.measured_tar()

    def pack(self, write: Write | None, packing: Packing = PLAIN_PACKING, /) -> LayerBlob:
        """Pack the tar in one pass: read, hash, compress, hash and write."""
        blob = Hashing(write)
        with tar_encoder(packing.compression, blob.write, packing.threads) as stream:
            # An uncompressed blob is the tar: hash it once.
            plain = packing.compression == Compression.NONE
            tar = blob if plain else Hashing(stream.write)
            with in_background(tar.write) if packing.hash_aside else nullcontext(tar.write) as out:
                self.write_tar(counted(out, packing.advance))
        held = stream.tar or tar
        return LayerBlob(
            diff_id=held.digest,
            digest=blob.digest,
            size=blob.size,
            media_type=media_type_of(packing.compression),
            history=self.history,
            key=blob_key(self.key, packing.compression, tar.digest),
            tar_size=held.size,
            annotations=stream.annotations,
        )


class EntryLayer(CreatedLayer, frozen=True):
    """A layer whose tar consists of entries."""

    @property
    @abstractmethod
    def meta(self) -> MemberMeta:
        """The modification time and owner that all members share."""

    @abstractmethod
    def entries(self) -> Iterable[Entry]:
        """Return the members in order; each call walks the files again."""

    def names(self) -> Iterable[bytes]:
        """Return the names of the entries."""
        return (entry.name for entry in self.entries())

    def member_pieces(self, listed: Iterable[Entry] | None = None) -> Iterator[memoryview]:
        """Yield the bytes of the members, without the end of the tar; a piece may be kept.

        `listed` are the entries, if they are known already.
        """
        entries = self.entries() if listed is None else listed
        return member_pieces(entries, Headers(self.meta))

    def tar_pieces(self, listed: Iterable[Entry] | None = None) -> Iterator[memoryview]:
        """Yield the bytes of the tar; `listed` are the entries, if they are known already."""
        size = 0
        for piece in self.member_pieces(listed):
            size += len(piece)
            yield piece
        yield end_of_tar(size)

    def write_tar(self, write: Write) -> object:
        """Write the tar of the entries."""
        return written(self.tar_pieces(), write)

    def listing(self) -> Iterable[Entry]:
        """Return the same members; it may take less if their contents are not to be read."""
        return self.entries()

    def measured_tar(self) -> SizedTar:
        """Return the tar with its size, which follows from the listing; no file is read."""
        size, kept = measured(self.listing(), Headers(self.meta))
        size = padded_size(size)

        def write_to(write: Write) -> None:
            check_size(written(self.tar_pieces(kept), write), size, self.history, kept or ())

        return SizedTar(size, self.history, write_to, self.key)


def measured(entries: Iterable[Entry], headers: Headers) -> tuple[int, list[Entry] | None]:
    """Return the size of the members, and the entries if they can be written and are not many."""
    size = 0
    kept: list[Entry] | None = []
    for entry in entries:
        size += headers.member_size(entry)
        if kept is not None:
            kept.append(entry)
            # Walk a large tree a second time instead of keeping its entries in memory.
            is_readable = entry.source or entry.kind != Kind.FILE
            kept = kept if is_readable and len(kept) < _MOST_ENTRIES_IN_MEMORY else None
    return size, kept


def check_size(
    written: int, size: int, history: LayerHistory, entries: Iterable[Entry] = ()
) -> None:
    """Raise PackError if a layer has another size than was said before it was written.

    `entries` are those that were measured, if they were kept: of a file, one may tell.
    """
    if written == size:
        return
    for entry in entries:
        if entry.kind == Kind.FILE and entry.source:
            actual = os.lstat(entry.source).st_size
            if actual != entry.size:
                raise size_error(entry.source, entry.size, grew=actual > entry.size)
    raise PackError(
        f"{history.created_by}: the layer has {written} bytes, but {size} by the listings of its"
        " store paths: a file changed meanwhile, or a binary cache has wrong ones"
    )


if TYPE_CHECKING:

    def _as_layer(layer: CreatedLayer) -> Layer:
        """Let mypy check that CreatedLayer provides the Layer interface."""
        return layer
