"""Copying a layer of an image that exists: the same bytes, verified on their way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from nixdock.digest import Write
from nixdock.errors import ImageError
from nixdock.layer import BlobLayer, FinishedLayer
from nixdock.pack import LAYER_MEDIA_TYPE
from nixdock.source.decompress import Coding, DecompressedReader
from nixdock.source.documents import layer_media_type
from nixdock.source.hashed import CHUNK, HashedReader, drain
from nixdock.source.image import SourceLayer

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["finished_layer"]


def finished_layer(layer: SourceLayer) -> FinishedLayer:
    """Return `layer` as a part of another image; copying it raises ImageError if a byte is wrong.

    The media type is the image-spec's for the same bytes.
    """
    if error := layer.media_type_error():
        raise ImageError(f"{layer.place}: {error}")
    return FinishedLayer(
        diff_id=layer.diff_id,
        size=layer.size,
        media_type=layer_media_type(layer.coding),
        history=layer.history,
        copy=partial(_copy, layer),
        expand=partial(_expanded, layer),
    )


def _copy(layer: SourceLayer, write: Write) -> BlobLayer:
    """Write the blob, which is hashed once, and so is the tar in it if it is compressed."""
    with _Passed(layer.members.open(layer.name), write) as blob:
        if layer.coding is Coding.NONE:
            drain(blob)
            diff_id = blob.digest
        else:
            tar = HashedReader(DecompressedReader(blob, layer.coding, layer.place))
            drain(tar)
            drain(blob)
            diff_id = tar.digest
    if blob.size != layer.size:
        raise ImageError(f"{layer.place}: it has {blob.size} bytes, but should have {layer.size}")
    if layer.declared_digest not in {None, blob.digest}:
        raise ImageError(
            f"{layer.place}: it is damaged: its digest is {blob.digest}, not"
            f" {layer.declared_digest}"
        )
    if diff_id != layer.diff_id:
        raise ImageError(
            f"{layer.place}: its diff_id is {layer.diff_id}, but uncompressed its digest is"
            f" {diff_id}"
        )
    media_type = layer_media_type(layer.coding)
    return BlobLayer(diff_id, blob.digest, blob.size, media_type, layer.history)


def _expanded(layer: SourceLayer) -> FinishedLayer:
    with layer.open_tar() as stream:
        size = sum(map(len, _chunks(stream)))

    def copy(write: Write) -> BlobLayer:
        with layer.open_tar() as stream:
            for chunk in _chunks(stream):
                write(chunk)
        return BlobLayer(layer.diff_id, layer.diff_id, size, LAYER_MEDIA_TYPE, layer.history)

    expanded = FinishedLayer(
        diff_id=layer.diff_id,
        size=size,
        media_type=LAYER_MEDIA_TYPE,
        history=layer.history,
        copy=copy,
        expand=lambda: expanded,
    )
    return expanded


def _chunks(stream: io.BufferedReader) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


class _Passed(HashedReader):
    """Hand on to `write` whatever is read."""

    def __init__(self, stream: io.RawIOBase, write: Write) -> None:
        super().__init__(stream)
        self._write = write

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        count = super().readinto(buffer)
        if count:
            # Whoever reads has its buffer back at once.
            self._write(bytes(memoryview(buffer)[:count]))
        return count
