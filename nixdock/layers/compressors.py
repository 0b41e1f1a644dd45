"""Deterministic, parallel compression, chosen by name.

With one version of libdeflate or libzstd, the compressed bytes depend on the input only: neither on
the number of workers nor on how the input is divided into writes. Other versions may compress the
same input to other bytes.

gzip uses libdeflate's level 6, with one gzip member per 1 MiB of input; readers treat the members
as one stream (RFC 1952, 2.2). zstd uses level 3 in libzstd's multi-threaded mode, where the size
of a job depends on the level only.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from nixdock.layers.libdeflate import gzip_member_compressor

if TYPE_CHECKING:
    from nixdock.system.buffers import Write

__all__ = ["Compression", "Compressor", "compressor"]

_BLOCK: Final = 1 << 20
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3


class Compression(StrEnum):
    """The compression of layers and archives that nixdock writes."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def media_type_suffix(self) -> str:
        """The suffix of a layer's media type, such as `+gzip`."""
        return "" if self is Compression.NONE else f"+{self.value}"


class Compressor(Protocol):
    """Compresses a stream of bytes and passes the result on; `finish` ends the stream."""

    def write(self, data: memoryview | bytes, /) -> None:
        """Compress the next bytes."""

    def finish(self) -> None:
        """Pass on all remaining output."""


def compressor(compression: Compression, write: Write, workers: int = 1) -> Compressor:
    """Return a compressor that passes its output to `write`.

    Raise ToolError if the library that it needs is not installed.
    """
    match compression:
        case Compression.NONE:
            return _Uncompressed(write)
        case Compression.GZIP:
            return _Gzip(write, workers)
        case Compression.ZSTD:
            return _Zstd(write, workers)


class _Uncompressed:
    def __init__(self, write: Write) -> None:
        self._write = write

    def write(self, data: memoryview | bytes) -> None:
        self._write(data)

    def finish(self) -> None:
        pass


class _Gzip:
    def __init__(self, write: Write, workers: int) -> None:
        self._write = write
        self._compress = gzip_member_compressor(_GZIP_LEVEL)
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        # Members that are being compressed, in the order of the input.
        self._pending: deque[Future[bytes]] = deque()
        self._most_pending = workers * 2
        self._block = bytearray()
        self._empty = True

    def write(self, data: memoryview | bytes) -> None:
        data = memoryview(data)
        while data:
            room = _BLOCK - len(self._block)
            self._block += data[:room]
            data = data[room:]
            if len(self._block) == _BLOCK:
                self._end_block()

    def finish(self) -> None:
        # An empty stream, too, has one member.
        if self._block or self._empty:
            self._end_block()
        while self._pending:
            self._write(self._pending.popleft().result())
        if self._pool is not None:
            self._pool.shutdown()

    def _end_block(self) -> None:
        block = bytes(self._block)
        self._block.clear()
        self._empty = False
        if self._pool is None:
            self._write(self._compress(block))
            return
        self._pending.append(self._pool.submit(self._compress, block))
        if len(self._pending) >= self._most_pending:
            self._write(self._pending.popleft().result())


class _Zstd:
    def __init__(self, write: Write, workers: int) -> None:
        from nixdock.layers.libzstd import zstd  # noqa: PLC0415 (loaded only if it is used)

        parameter = zstd.CompressionParameter
        self._write = write
        # Without workers, libzstd divides the input differently, so use one at least.
        self._zstd = zstd.ZstdCompressor(
            options={
                parameter.compression_level: _ZSTD_LEVEL,
                parameter.nb_workers: max(1, workers),
                parameter.checksum_flag: 1,
            }
        )

    def write(self, data: memoryview | bytes) -> None:
        # An empty first write would change the frame's header, so skip empty writes.
        if data and (compressed := self._zstd.compress(data)):
            self._write(compressed)

    def finish(self) -> None:
        self._write(self._zstd.flush())
