"""Deterministic, parallel compression.

The compressed bytes depend on the input only: neither on the number of workers nor on how the input
is divided into writes. Libraries that give other bytes are refused (gzip) or reported (zstd).

gzip is libdeflate's, with one gzip member per 1 MiB of input; readers treat the members as one
stream (RFC 1952, 2.2). zstd is libzstd's in its multi-threaded mode, where the size of a job
depends on the level only.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol

from nixdock.coding.codings import Coding
from nixdock.errors import InputError
from nixdock.layers.compression import Compression
from nixdock.layers.encoder_probe import encoder_digest
from nixdock.layers.kept_compressors import keep_compressor, kept_compressor
from nixdock.layers.libdeflate import SAMPLE_DIGESTS, gzip_member_compressor
from nixdock.oci.blob_annotations import OF_ESTARGZ, OF_ZSTD_CHUNKED
from nixdock.oci.media_types import LAYER_MEDIA_TYPE

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from nixdock.coding.libzstd import zstd
    from nixdock.system.buffers import Write

__all__ = [
    "Compressor",
    "annotations_of",
    "check_for_files",
    "compressor",
    "encoder_name",
    "load_encoder",
    "media_type_of",
]

log = logging.getLogger(__name__)

_BLOCK: Final = 1 << 20
_LONG_WINDOW_LOG: Final = 27
_ZSTD_VERSION: Final = "1.5.7"
_ZSTD_SAMPLE_DIGEST: Final = "2047f287b2b199002c74ddc363a5cc82168b32f935bb790ce20ba1e2b22b1844"


class Compressor(Protocol):
    """Compresses a stream of bytes and passes the result on."""

    def write(self, data: memoryview | bytes, /) -> None:
        """Compress the next bytes."""


class _Encoder(Compressor, Protocol):
    def finish(self) -> None:
        """Pass on all remaining output."""

    def close(self) -> None:
        """End all threads, without any further output."""


@contextmanager
def compressor(
    compression: Compression, write: Write, workers: int = 1, *, checksum: bool = True
) -> Iterator[Compressor]:
    """Yield a compressor that passes its output to `write`; the end of the block ends the stream.

    A zstd stream has a checksum unless its readers know a digest. If the block fails, what is not
    compressed yet is dropped. Raise ToolError if the library that is needed is missing or
    compresses to other bytes than it should, and InputError if the compression is one for layers
    alone.
    """
    check_for_files(compression)
    load_encoder(compression)
    encoder: _Encoder
    match compression.coding:
        case Coding.GZIP:
            encoder = _Gzip(write, compression.level, workers)
        case Coding.ZSTD:
            encoder = _Zstd(write, compression, workers, checksum=checksum)
        case _:
            encoder = _Uncompressed(write)
    try:
        yield encoder
        encoder.finish()
    finally:
        encoder.close()


def check_for_files(compression: Compression) -> None:
    """Raise InputError if the compression is one for layers alone."""
    if compression.chunked:
        raise InputError(
            f"{compression.name} is for layers, not for whole files: choose gzip, zstd or none, or"
            " another format than a docker-archive"
        )


def media_type_of(compression: Compression) -> str:
    """Return the media type of a new layer with that compression."""
    return LAYER_MEDIA_TYPE + compression.media_type_suffix


def annotations_of(compression: Compression) -> frozenset[str]:
    """Return the keys of the annotations that a new layer with that compression has."""
    if not compression.chunked:
        return frozenset()
    return OF_ESTARGZ if compression.coding is Coding.GZIP else OF_ZSTD_CHUNKED


def encoder_name(compression: Compression) -> str:
    """Return a name for the bytes that a compression gives: of the format, level and encoder.

    Encoders with the same name compress everything to the same bytes.
    """
    level = compression.level
    if compression.chunked:
        from nixdock.layers.chunked.frames import frames_name  # noqa: PLC0415 (used rarely)

        return frames_name(compression)
    match compression.coding:
        case Coding.GZIP:
            return f"gzip-{level} {SAMPLE_DIGESTS[level]} {_BLOCK}"
        case Coding.ZSTD:
            long = " long" if compression.long else ""
            return f"zstd-{level}{long} {_zstd_sample_digest(compression)}"
        case _:
            return compression.coding.value


def load_encoder(compression: Compression) -> None:
    """Load and check the library for `compression`; processes that are forked later share it.

    Raise ToolError as `compressor` does. Log a warning if libzstd compresses to other bytes than
    the version that nixdock is made for.
    """
    match compression.coding:
        case Coding.GZIP:
            gzip_member_compressor(compression.level)
        case Coding.ZSTD:
            _check_zstd()
        case _:
            pass


class _Uncompressed:
    def __init__(self, write: Write) -> None:
        self._write = write

    def write(self, data: memoryview | bytes) -> None:
        self._write(data)

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Gzip:
    def __init__(self, write: Write, level: int, workers: int) -> None:
        self._write = write
        self._compress = gzip_member_compressor(level)
        self._pool: ThreadPoolExecutor | None = None
        if workers > 1:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (slow to load)

            self._pool = ThreadPoolExecutor(workers)
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

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

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
    def __init__(
        self, write: Write, compression: Compression, workers: int, *, checksum: bool
    ) -> None:
        from nixdock.coding.libzstd import compression_errors  # noqa: PLC0415 (as in load_encoder)

        self._write = write
        self._errors = compression_errors
        self._settings = compression, max(1, workers)
        self._is_of_layer = not checksum
        kept = kept_compressor(*self._settings) if self._is_of_layer else None
        self._zstd = kept or _zstd_compressor(*self._settings, checksum=checksum)
        self._is_finished = False

    def write(self, data: memoryview | bytes) -> None:
        # An empty first write would change the frame's header, so skip empty writes.
        if not data:
            return
        with self._errors():
            compressed = self._zstd.compress(data)
        if compressed:
            self._write(compressed)

    def finish(self) -> None:
        with self._errors():
            compressed = self._zstd.flush()
        self._is_finished = True
        self._write(compressed)

    def close(self) -> None:
        if self._is_finished and self._is_of_layer:
            keep_compressor(*self._settings, self._zstd)
        # Freeing the compressor ends its threads.
        del self._zstd


def _zstd_compressor(
    compression: Compression, workers: int, *, checksum: bool = False
) -> zstd.ZstdCompressor:
    from nixdock.coding.libzstd import zstd  # noqa: PLC0415 (loaded only if it is used)

    parameter = zstd.CompressionParameter
    options: dict[int, int] = {
        parameter.compression_level: compression.level,
        # Without workers, libzstd divides the input differently, so use one at least.
        parameter.nb_workers: workers,
        parameter.checksum_flag: int(checksum),
    }
    if compression.long:
        options[parameter.enable_long_distance_matching] = 1
        # The largest window that readers take by default.
        options[parameter.window_log] = _LONG_WINDOW_LOG
    return zstd.ZstdCompressor(options=options)


@cache
def _check_zstd() -> None:
    """Log a warning if libzstd, which Python chooses, is one that compresses to other bytes."""
    if _zstd_sample_digest(Compression.ZSTD) != _ZSTD_SAMPLE_DIGEST:
        from nixdock.coding.libzstd import zstd  # noqa: PLC0415 (loaded only if it is used)

        log.warning(
            "Python's libzstd %s compresses to other bytes than %s, so the digests of compressed"
            " layers differ from those on machines with that version; the diff_ids do not",
            zstd.zstd_version,
            _ZSTD_VERSION,
        )


@cache
def _zstd_sample_digest(compression: Compression) -> str:
    """Return the digest of what the installed libzstd makes of the sample."""
    from nixdock.coding.libzstd import compression_errors, zstd  # noqa: PLC0415 (the same)

    if compression == Compression.ZSTD and zstd.zstd_version == _ZSTD_VERSION:
        return _ZSTD_SAMPLE_DIGEST
    # To set up one for each piece would take seconds at high levels, and changes no bytes.
    compressor = _zstd_compressor(compression, 1)
    with compression_errors():
        return encoder_digest(lambda data: compressor.compress(data) + compressor.flush())
