"""Frames of a blob: pieces of its tar that are compressed each for itself, in order."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Final

from msgspec import Struct

from nixdock.coding.codings import Coding
from nixdock.coding.libzstd import compression_errors, zstd
from nixdock.layers.compression import Compression
from nixdock.layers.encoder_probe import encoder_digest
from nixdock.layers.libdeflate import SAMPLE_DIGESTS, gzip_member_compressor
from nixdock.system.buffers import Write

__all__ = ["CHUNK_SIZE", "Compress", "Frame", "Frames", "frame_compressor", "frames_name"]

Compress = Callable[[bytes], bytes]

CHUNK_SIZE: Final = 1 << 18
"""The size in bytes of the chunks of large files; the last one of a file is smaller."""

# Of the formats as they are written here: another one has other bytes for the same tar.
_VERSION: Final = 1

# Frames of so many bytes are compressed by one call in another thread, since small ones cost less
# than the call.
_LEAST_JOB: Final = 1 << 18


def frame_compressor(compression: Compression) -> Compress:
    """Return a thread-safe function that compresses bytes to one frame, a function of them alone.

    Raise ToolError if the library that is needed is missing or gives other bytes than it should.
    """
    if compression.coding is Coding.GZIP:
        return gzip_member_compressor(compression.level)
    return _ZstdFrames(compression.level)


@cache
def frames_name(compression: Compression) -> str:
    """Return a name for the bytes of blobs; blobs with the same name and tar are the same."""
    level = compression.level
    is_gzip = compression.coding is Coding.GZIP
    sample = SAMPLE_DIGESTS[level] if is_gzip else encoder_digest(_ZstdFrames(level))
    return f"{compression.name}-{level} {sample} {CHUNK_SIZE} {_VERSION}"


class _ZstdFrames:
    """Makes zstd frames that state their size and have no checksum: their users know digests."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._local = threading.local()

    def __call__(self, data: bytes) -> bytes:
        # Allocating a compressor takes longer than compressing a small file.
        compressor: zstd.ZstdCompressor | None = getattr(self._local, "compressor", None)
        if compressor is None:
            options: dict[int, int] = {zstd.CompressionParameter.compression_level: self._level}
            compressor = self._local.compressor = zstd.ZstdCompressor(options=options)
        with compression_errors():
            return compressor.compress(data, mode=compressor.FLUSH_FRAME)


class Frame(Struct, eq=False):
    """A frame of `size` bytes when decompressed, whose `digest` is known if it was asked for.

    It is in the bytes of the blob from `start` to `end`; before it is written, `end` is 0.
    """

    size: int
    digest: str = ""
    start: int = 0
    end: int = 0


class _Job(Struct):
    pieces: list[tuple[Frame, bytes, bool]]
    result: Future[list[bytes]]


class Frames:
    """Compress pieces on `workers` threads, and write them one after the other.

    `offset` is how many bytes are written.
    """

    def __init__(self, write: Write, compress: Compress, workers: int) -> None:
        self._write = write
        self._compress = compress
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        self._most_pending = 2 * workers
        self._pieces: list[tuple[Frame, bytes, bool]] = []
        self._pieces_size = 0
        self._pending: deque[_Job] = deque()
        self.offset = 0

    def add(self, data: bytes, *, digest: bool = False) -> Frame:
        """Add a frame of `data`, which is written now or later."""
        frame = Frame(len(data))
        self._pieces.append((frame, data, digest))
        self._pieces_size += len(data)
        if self._pieces_size >= _LEAST_JOB:
            self._start_job()
        return frame

    def flush(self) -> None:
        """Write all frames so far."""
        self._start_job()
        while self._pending:
            self._write_job()

    def write_raw(self, data: bytes) -> None:
        """Write bytes as they are, after all frames so far."""
        self.flush()
        self._write(data)
        self.offset += len(data)

    def close(self) -> None:
        """End all threads, without any further output."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _start_job(self) -> None:
        pieces, self._pieces, self._pieces_size = self._pieces, [], 0
        if not pieces:
            return
        if self._pool is None:
            self._write_frames(pieces, self._compressed(pieces))
            return
        self._pending.append(_Job(pieces, self._pool.submit(self._compressed, pieces)))
        if len(self._pending) >= self._most_pending:
            self._write_job()

    def _compressed(self, pieces: Sequence[tuple[Frame, bytes, bool]]) -> list[bytes]:
        for frame, data, digest in pieces:
            if digest:
                frame.digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return [self._compress(data) for _, data, _ in pieces]

    def _write_job(self) -> None:
        job = self._pending.popleft()
        self._write_frames(job.pieces, job.result.result())

    def _write_frames(
        self, pieces: Sequence[tuple[Frame, bytes, bool]], compressed: Sequence[bytes]
    ) -> None:
        for (frame, _, _), data in zip(pieces, compressed, strict=True):
            frame.start = self.offset
            self._write(data)
            self.offset += len(data)
            frame.end = self.offset
