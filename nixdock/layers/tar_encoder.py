"""Encoding the tar of a layer as its blob, in any compression."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from nixdock.layers.compression import Compression
from nixdock.layers.compressors import Compressor, compressor, load_encoder
from nixdock.oci.digests import Hashing
from nixdock.system.buffers import Write

__all__ = ["TarEncoder", "tar_encoder"]


class TarEncoder(Compressor, Protocol):
    """Encodes a tar; its properties hold when all of the blob is written."""

    @property
    def tar(self) -> Hashing | None:
        """The tar in the blob, or None if it is the one that was written to the encoder."""

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of the blob's descriptor."""


@contextmanager
def tar_encoder(compression: Compression, write: Write, workers: int = 1) -> Iterator[TarEncoder]:
    """Yield an encoder that passes the blob to `write`; the end of the block ends the blob.

    If the block fails, what is not encoded yet is dropped. Raise ToolError as `compressor` does.
    """
    if not compression.chunked:
        # Readers compare the layer's digest, which is stronger than a checksum.
        with compressor(compression, write, workers, checksum=False) as stream:
            yield _Stream(stream)
        return
    # These formats are rarely used: load them only then.
    from nixdock.layers.chunked.blob_formats import chunked_encoder  # noqa: PLC0415

    load_encoder(compression)
    encoder = chunked_encoder(compression, write, workers)
    try:
        yield encoder
        encoder.finish()
    finally:
        encoder.close()


class _Stream:
    """A compressor as an encoder."""

    tar = None

    def __init__(self, stream: Compressor) -> None:
        self._stream = stream
        self.annotations: Mapping[str, str] = {}

    def write(self, data: memoryview | bytes) -> None:
        self._stream.write(data)
