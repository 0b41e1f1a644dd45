"""Deterministic, parallel compression, chosen by name.

The bytes depend on the input alone: neither on the number of workers nor on how the input was
cut into writes. gzip is libdeflate's level 6 in members of 1 MiB of input, which every reader of
gzip takes as one stream; zstd is level 3 in libzstd's multi-threaded mode, whose cuts depend on
the level only.
"""

from __future__ import annotations

import sys
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
    """What can be asked for."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def media_type_suffix(self) -> str:
        """What it adds to a layer's media type."""
        return "" if self is Compression.NONE else f"+{self.value}"


class Compressor(Protocol):
    """Takes bytes and hands their compressed form on; `finish` ends the stream."""

    def write(self, data: memoryview | bytes, /) -> None:
        """Take the next bytes."""

    def finish(self) -> None:
        """Hand on all that is left."""


def compressor(compression: Compression, write: Write, workers: int = 1) -> Compressor:
    """Return a compressor that hands its output to `write`."""
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
        self._waiting: deque[Future[bytes]] = deque()
        self._most_waiting = workers * 2
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
        # A stream has at least one member, even when it is empty.
        if self._block or self._empty:
            self._end_block()
        while self._waiting:
            self._write(self._waiting.popleft().result())
        if self._pool is not None:
            self._pool.shutdown()

    def _end_block(self) -> None:
        block = bytes(self._block)
        self._block.clear()
        self._empty = False
        if self._pool is None:
            self._write(self._compress(block))
            return
        self._waiting.append(self._pool.submit(self._compress, block))
        if len(self._waiting) >= self._most_waiting:
            self._write(self._waiting.popleft().result())


class _Zstd:
    def __init__(self, write: Write, workers: int) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415 (only when asked for)
        else:
            from backports import zstd  # noqa: PLC0415 (only when asked for)

        parameter = zstd.CompressionParameter
        self._write = write
        # One worker at least: without any, libzstd cuts its blocks in another way.
        self._zstd = zstd.ZstdCompressor(
            options={
                parameter.compression_level: _ZSTD_LEVEL,
                parameter.nb_workers: max(1, workers),
                parameter.checksum_flag: 1,
            }
        )

    def write(self, data: memoryview | bytes) -> None:
        # An empty first write would settle the frame's header in another way than none at all.
        if data and (compressed := self._zstd.compress(data)):
            self._write(compressed)

    def finish(self) -> None:
        self._write(self._zstd.flush())
