"""An existing layer that becomes part of another image: the same bytes, verified while copied."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from nixdock.coding.codings import Coding
from nixdock.coding.decompression import DecompressedReader
from nixdock.errors import ImageError
from nixdock.layers.hashed import CHUNK, HashedReader, drain
from nixdock.layers.layer import PLAIN_PACKING, Layer, Packing, SizedBlob
from nixdock.layers.progress import counted
from nixdock.oci.digests import Hashing
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.media_types import LAYER_MEDIA_TYPE, layer_media_type
from nixdock.system.buffers import Write
from nixdock.system.readers import CopyReader
from nixdock.tar.reader import TarReader

__all__ = ["ExistingBlob", "PassedOnLayer"]


class ExistingBlob(Protocol):
    """The blob of an existing layer, wherever it is: in an archive, a layout or a registry."""

    @property
    def subject(self) -> str:
        """What error messages call the blob: the image that has it, and where."""

    def fault(
        self, message: str, *, digest: str | None = None, key: str | None = None
    ) -> ImageError:
        """Return the error that says what is wrong with the blob."""

    @property
    def diff_id(self) -> str:
        """The digest that the uncompressed tar must have."""

    @property
    def declared_digest(self) -> str | None:
        """The digest that the blob must have, or None if only the config describes the layer."""

    @property
    def size(self) -> int:
        """The size in bytes that the blob must have."""

    @property
    def coding(self) -> Coding:
        """The compression of the blob."""

    @property
    def history(self) -> LayerHistory:
        """The layer's history entry in the existing image."""

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of the blob's descriptor that describe the blob."""

    def media_type_error(self) -> str | None:
        """Return a message if the declared media type is wrong, else None."""

    def open_raw(self) -> io.RawIOBase:
        """Open the blob for reading, unverified."""

    def open_tar(self) -> io.BufferedReader:
        """Open the uncompressed tar; reading its end raises ImageError if the blob is damaged."""


class PassedOnLayer(Struct, frozen=True):
    """An existing layer as part of another image.

    Its media type becomes that of the image-spec for the blob's compression; if there is none, the
    blob is decompressed. Reading raises ImageError if the blob is damaged.
    """

    blob: ExistingBlob

    @classmethod
    def of(cls, blob: ExistingBlob) -> PassedOnLayer:
        """Return the layer; raise ImageError if the declared media type does not fit the bytes."""
        if error := blob.media_type_error():
            raise blob.fault(error)
        return cls(blob)

    @property
    def history(self) -> LayerHistory:
        """The layer's history entry in the existing image."""
        return self.blob.history

    @property
    def weight(self) -> int:
        """The size of the blob in bytes."""
        return self.blob.size

    @property
    def diff_id(self) -> str:
        """The digest that the existing image's config declares."""
        return self.blob.diff_id

    @property
    def key(self) -> str | None:
        """None: nothing says how the layer came about that can be trusted."""
        return None

    @property
    def is_remote(self) -> bool:
        """False: of the blobs of a base image, each comes as a whole, and there are few."""
        return False

    @property
    def existing_digest(self) -> str | None:
        """The digest that the existing image's manifest declares, if it has a manifest."""
        return self.blob.declared_digest

    @property
    def existing_annotations(self) -> Mapping[str, str]:
        """The annotations that the existing image's manifest has for the blob."""
        return self.blob.annotations

    def existing_blob(self) -> LayerBlob | None:
        """Return the blob as it is declared; its first bytes are read to tell its compression."""
        blob = self.blob
        if blob.declared_digest is None or not blob.coding.has_media_type:
            return None
        media_type = layer_media_type(blob.coding)
        return LayerBlob(
            blob.diff_id,
            blob.declared_digest,
            blob.size,
            media_type,
            blob.history,
            annotations=blob.annotations,
        )

    def names(self) -> Iterator[bytes]:
        """Yield the names of the tar's members; the blob is read to its end, and verified."""
        with self.blob.open_tar() as stream:
            for member in TarReader(stream, self.blob.subject, sparse=True):
                yield member.name

    def tar_pieces(self) -> None:
        """Return None: the blob is passed on."""

    def sized(self, media_types: Collection[str], /) -> SizedBlob:
        """Return the blob unchanged, or uncompressed if its type is not in `media_types`."""
        if self.blob.coding is Coding.NONE or layer_media_type(self.blob.coding) in media_types:
            return _BlobCopy(self.blob)
        return _ExpandedBlob.of(self.blob)

    def pack(self, write: Write | None, packing: Packing = PLAIN_PACKING, /) -> LayerBlob:
        """Copy the blob, not compressed anew; raise ImageError if it is damaged."""
        hashing = Hashing(write)
        copy: SizedBlob = _BlobCopy(self.blob)
        if not self.blob.coding.has_media_type:
            copy = _ExpandedBlob.of(self.blob)
        copy.write_to(counted(hashing.write, packing.advance))
        return copy.described(hashing.digest)


class _BlobCopy:
    """A copy of a blob; a compressed one is also decompressed meanwhile, to check its diff_id."""

    def __init__(self, blob: ExistingBlob) -> None:
        self._blob = blob
        self._written = 0
        self._tar_digest: str | None = None

    @property
    def size(self) -> int:
        return self._blob.size

    def write_to(self, write: Write) -> None:
        blob = self._blob
        with CopyReader(blob.open_raw(), write) as copy:
            if blob.coding is not Coding.NONE:
                tar = HashedReader(DecompressedReader(copy, blob.coding, failure=blob.fault))
                drain(tar)
                self._tar_digest = tar.digest
            drain(copy)
        self._written = copy.size

    def described(self, digest: str) -> LayerBlob:
        blob = self._blob
        if self._written != blob.size:
            raise blob.fault(
                f"the layer has {self._written} bytes, but should have {blob.size}", digest=digest
            )
        if blob.declared_digest not in {None, digest}:
            raise blob.fault(
                f"the layer is damaged: its digest is {digest}, not {blob.declared_digest}",
                digest=digest,
            )
        diff_id = self._tar_digest or digest
        if diff_id != blob.diff_id:
            raise _diff_id_error(blob, diff_id)
        media_type = layer_media_type(blob.coding)
        return LayerBlob(
            diff_id, digest, blob.size, media_type, blob.history, annotations=blob.annotations
        )


class _ExpandedBlob(Struct, frozen=True):
    """The tar in a compressed blob."""

    blob: ExistingBlob
    size: int

    @classmethod
    def of(cls, blob: ExistingBlob) -> _ExpandedBlob:
        """Read the blob once to verify it and to find the size of its tar."""
        with blob.open_tar() as stream:
            return cls(blob, sum(map(len, iter(lambda: stream.read(CHUNK), b""))))

    def write_to(self, write: Write) -> None:
        blob = self.blob
        with DecompressedReader(blob.open_raw(), blob.coding, failure=blob.fault) as stream:
            while chunk := stream.read(CHUNK):
                write(chunk)

    def described(self, digest: str) -> LayerBlob:
        if digest != self.blob.diff_id:
            raise _diff_id_error(self.blob, digest)
        return LayerBlob(digest, digest, self.size, LAYER_MEDIA_TYPE, self.blob.history)


def _diff_id_error(blob: ExistingBlob, digest: str) -> ImageError:
    return blob.fault(
        f"the layer's diff_id is {blob.diff_id}, but its digest is {digest} when uncompressed",
        digest=digest,
    )


if TYPE_CHECKING:
    # Let mypy check that PassedOnLayer provides the Layer interface.
    _LAYER: type[Layer] = PassedOnLayer
