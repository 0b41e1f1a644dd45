"""A layer of a stored image, which is read on demand."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

from nixdock.coding.codings import Coding, coding_of
from nixdock.coding.decompression import DecompressedReader
from nixdock.errors import ImageError
from nixdock.layers.hashed import HashedReader, VerifiedReader, buffered, drain
from nixdock.oci.layer_blob import LayerHistory
from nixdock.oci.media_types import DOCKER_LAYER, LAYER_CODINGS, layer_media_type
from nixdock.read.members import Members
from nixdock.system.file_range import Range

if TYPE_CHECKING:
    from nixdock.layers.passed_on import ExistingBlob

__all__ = ["StoredLayer"]


@dataclass(frozen=True)
class StoredLayer:
    """A layer of a stored image: an `ExistingBlob`.

    `declared_digest` is the blob's digest in a manifest, or None in a docker-archive that does not
    state it, and `key` names the blob by what it was made from, if the manifest says so (see
    `nixdock.layers.keys`); nothing verifies it. `annotations` are those of the descriptor that
    describe the blob. `path` is the location of the image, and `place` is where the image has the
    layer. Layers are equal if they are the same blob, at whatever places in an image.
    """

    members: Members
    name: str
    place: str = field(compare=False)
    diff_id: str
    size: int
    media_type: str
    history: LayerHistory = field(compare=False)
    declared_digest: str | None
    key: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False)
    path: str = field(default="", compare=False)

    @property
    def subject(self) -> str:
        """What error messages call the layer: several images may be read for one job."""
        return f"{self.path}: {self.place}" if self.path else self.place

    def fault(
        self, message: str, *, digest: str | None = None, key: str | None = None
    ) -> ImageError:
        """Return the error that says what is wrong with the layer."""
        return ImageError(
            f"{self.subject}: {message}",
            path=self.path or None,
            place=self.place,
            digest=digest,
            key=key,
        )

    @cached_property
    def coding(self) -> Coding:
        """The compression that the blob's first bytes show, which are read for that."""
        return coding_of(self.members.start(self.name))

    @cached_property
    def digest(self) -> str:
        """The digest of the blob; if none is declared, a compressed blob is read to compute it."""
        if self.declared_digest is not None:
            return self.declared_digest
        if self.coding is Coding.NONE:
            return self.diff_id
        with HashedReader(self.members.open(self.name)) as stream:
            drain(stream)
            return stream.digest

    def open(self) -> BinaryIO:
        """Open the blob; reading its last bytes raises ImageError if it is damaged."""
        return buffered(self._open_verified())

    def open_raw(self) -> io.RawIOBase:
        """Open the blob for reading, unverified."""
        return self.members.open(self.name)

    def open_tar(self) -> io.BufferedReader:
        """Open the uncompressed tar; reading its end raises ImageError if the blob is damaged.

        Raise ImageError at once if the media type is wrong.
        """
        return buffered(self.open_unbuffered_tar())

    def open_unbuffered_tar(self) -> io.RawIOBase:
        """Open the tar as `open_tar` does, for reading large pieces without a copy."""
        if error := self.media_type_error():
            raise self.fault(error, key="mediaType")
        if self.coding is Coding.NONE and self.declared_digest in {None, self.diff_id}:
            return self._open_verified()
        stream = self._open_verified()
        if self.coding is not Coding.NONE:
            stream = DecompressedReader(stream, self.coding, failure=self.fault)
        return VerifiedReader(
            stream, self.place, self.diff_id, None, path=self.path or None, uncompressed=True
        )

    def open_range(self) -> Range:
        """Open the blob for reading at any position, unverified."""
        return self.members.open_range(self.name)

    def media_type_error(self) -> str | None:
        """Return a message if the media type is not that of a layer."""
        if self.media_type in LAYER_CODINGS or self.media_type == layer_media_type(self.coding):
            return None
        return f"the media type {self.media_type!r} is not that of a layer"

    def media_type_warning(self) -> str | None:
        """Return a message if some runtimes do not know the compression, or find it by itself."""
        if not self.coding.has_media_type:
            return (
                f"the layer is compressed with {self.coding}: Docker and Podman read it, but"
                " containerd and umoci do not"
            )
        # Some tools declare uncompressed layers with this type, too.
        if self.media_type == DOCKER_LAYER and self.coding is Coding.NONE:
            return None
        if LAYER_CODINGS.get(self.media_type) is not self.coding:
            return (
                f"the media type is {self.media_type!r}, but the compression is {self.coding}:"
                " Docker, Podman and containerd go by the bytes, umoci by the type"
            )
        return None

    def _open_verified(self) -> io.RawIOBase:
        stream = self.members.open(self.name)
        return VerifiedReader(stream, self.place, self.digest, self.size, path=self.path or None)


if TYPE_CHECKING:
    # Let mypy check that StoredLayer provides the interface.
    _BLOB: type[ExistingBlob] = StoredLayer
