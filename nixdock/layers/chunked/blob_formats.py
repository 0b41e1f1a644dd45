"""The encoder for each format of layers that are fetched in part."""

from __future__ import annotations

from nixdock.coding.codings import Coding
from nixdock.layers.chunked.encoder import BlobFormat, ChunkedEncoder
from nixdock.layers.chunked.estargz import Estargz
from nixdock.layers.chunked.frames import frame_compressor
from nixdock.layers.chunked.zstd_chunked import ZstdChunked
from nixdock.layers.compression import Compression
from nixdock.system.buffers import Write

__all__ = ["chunked_encoder"]


def chunked_encoder(compression: Compression, write: Write, workers: int) -> ChunkedEncoder:
    """Return an encoder with so many threads, which the caller finishes and closes.

    Raise ToolError if the library that is needed is missing.
    """
    compress = frame_compressor(compression)
    blob_format: BlobFormat = (
        Estargz() if compression.coding is Coding.GZIP else ZstdChunked(compress, compression.level)
    )
    return ChunkedEncoder(blob_format, write, compress, workers)
