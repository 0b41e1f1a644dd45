"""Decompression with limits: gzip of several members, zstd of several frames, xz, bzip2, brotli."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from nixdock.coding.codings import Coding
from nixdock.errors import ImageError, NixdockError, ToolError
from nixdock.system.buffers import whole_bytes
from nixdock.system.readers import ForwardReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["MOST_EXPANDED", "DecompressedReader"]

MOST_EXPANDED: Final = 64 << 30
"""The largest size in bytes that a layer or a whole archive may expand to."""

_INPUT_CHUNK: Final = 1 << 18
# Most of what comes of so much fills whole chunks of output, which take less time in what follows.
# Other formats keep to less input: for each chunk, zlib copies what is left of it.
_ZSTD_INPUT_CHUNK: Final = 1 << 20
_OUTPUT_CHUNK: Final = 1 << 20
# Every frame costs time, but an empty one takes few bytes. Images for lazy pulling have frames of a
# single file or header, which take more than this on average.
_LEAST_FRAME: Final = 32
_FREE_FRAMES: Final = 10_000
# What follows a frame is copied, so give little to a decompressor of small frames.
_SMALL_CHUNK: Final = 1 << 12
_MOST_XZ_MEMORY: Final = 256 << 20


class _Frame(Protocol):
    """A decompressor of one gzip member, zstd frame or other stream, as in the standard library."""

    def decompress(self, data: bytes, max_length: int) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


class _GzipMember:
    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._member.decompress(self._member.unconsumed_tail + data, max_length)

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def needs_input(self) -> bool:
        return not self._member.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data


class _BrotliStream:
    """A stream of brotli, after whose end nothing may follow."""

    unused_data = b""

    def __init__(self) -> None:
        self._stream = _brotli().Decompressor()

    def decompress(self, data: bytes, max_length: int) -> bytes:
        output: bytes = self._stream.process(data, output_buffer_limit=max_length)
        return output

    @property
    def eof(self) -> bool:
        return bool(self._stream.is_finished())

    @property
    def needs_input(self) -> bool:
        return bool(self._stream.can_accept_more_data())


def _brotli() -> Any:
    try:
        import brotli  # noqa: PLC0415 (need not be there)
    except ImportError:
        raise ToolError(
            "data is compressed with brotli, which needs the Python package brotli; install it or,"
            " in Nix, take pkgs.nixdock.package.override { withBrotli = true; }"
        ) from None
    return brotli


def _zstd() -> Any:
    from nixdock.coding.libzstd import zstd  # noqa: PLC0415 (loaded only if it is used)

    return zstd


class DecompressedReader(ForwardReader):
    """Decompress `stream`, whose coding is not Coding.NONE.

    Reading raises ImageError if the data is damaged, truncated or followed by other bytes, or if it
    expands to more than `most` bytes (default MOST_EXPANDED) or by more than `coding.most_ratio`
    (unless `any_ratio` is set, for data of a known size),
    or consists of too many frames; with `failure`, it raises what that makes of the message. NUL
    bytes that follow gzip data are ignored, and make `has_padding` True. `place` says where the
    data is, for the error. `on_frame` is called before the first bytes of each frame come, with
    where it begins in the data and in what they decompress to.
    """

    def __init__(
        self,
        stream: io.RawIOBase,
        coding: Coding,
        place: str | None = None,
        most: int | None = None,
        failure: Callable[[str], NixdockError] | None = None,
        *,
        any_ratio: bool = False,
        on_frame: Callable[[int, int], object] | None = None,
    ) -> None:
        super().__init__(stream)
        self._place = place
        self._coding = coding
        self._failure = failure
        self._any_ratio = any_ratio
        self._on_frame = on_frame
        self._most = MOST_EXPANDED if most is None else most
        self._errors: tuple[type[Exception], ...] = (zlib.error, lzma.LZMAError, EOFError, OSError)
        if coding is Coding.ZSTD:
            self._errors += (_zstd().ZstdError,)
        elif coding is Coding.BROTLI:
            self._errors += (_brotli().error,)
        self._chunk = _ZSTD_INPUT_CHUNK if coding is Coding.ZSTD else _INPUT_CHUNK
        # None between two frames.
        self._frame: _Frame | None = self._new_frame()
        self._input = b""
        self._at = 0
        self._output = memoryview(b"")
        self._input_size = 0
        self._output_size = 0
        self._frames = 0
        self.has_padding = False
        if on_frame is not None:
            on_frame(0, 0)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        if not self._output:
            self._output = memoryview(self._next_output())
        view = memoryview(buffer)
        count = min(len(view), len(self._output))
        view[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` of the next bytes, without a copy if no more are ready."""
        if size < 0:
            return self.readall()
        if not self._output:
            self._output = memoryview(self._next_output())
        taken, self._output = self._output[:size], self._output[size:]
        return whole_bytes(taken)

    def _new_frame(self) -> _Frame:
        if self._coding is Coding.GZIP:
            return _GzipMember()
        if self._coding is Coding.XZ:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_XZ_MEMORY)
        if self._coding is Coding.BZIP2:
            return bz2.BZ2Decompressor()
        if self._coding is Coding.BROTLI:
            return _BrotliStream()
        # libzstd itself refuses windows above 128 MiB.
        frame: _Frame = _zstd().ZstdDecompressor()
        return frame

    def _next_output(self) -> bytes:
        """Return the next bytes of output, none at the end of the stream."""
        while True:
            if self._frame is None:
                if self._at_end_of_input() and not self._refill():
                    return b""
                if self._coding is Coding.GZIP and self._input[self._at] == 0:
                    self._skip_padding()
                    return b""
                self._count_frame()
                if self._on_frame is not None:
                    start = self._input_size - len(self._input) + self._at
                    self._on_frame(start, self._output_size)
                self._frame = self._new_frame()
            at_end = False
            piece = b""
            if self._frame.needs_input:
                at_end = self._at_end_of_input() and not self._refill()
                piece = self._next_piece()
            try:
                data = self._frame.decompress(piece, _OUTPUT_CHUNK)
            except self._errors as error:
                raise self._error(f"is damaged: {error}") from None
            if self._frame.eof:
                self._at -= len(self._frame.unused_data)
                self._frame = None
            elif at_end and not data:
                raise self._error(f"is truncated: it ends after {self._input_size} bytes")
            if data:
                self._check_size(len(data))
                return data

    def _at_end_of_input(self) -> bool:
        return self._at == len(self._input)

    def _next_piece(self) -> bytes:
        """Return the next input; only a little where frames are small."""
        size = _SMALL_CHUNK if self._input_size < self._frames * _SMALL_CHUNK else self._chunk
        piece = self._input[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def _count_frame(self) -> None:
        """Count a frame; raise ImageError for more than any compressor makes of so much input."""
        self._frames += 1
        if self._frames > _FREE_FRAMES + self._input_size // _LEAST_FRAME:
            raise self._error(f"has too many small frames: {self._frames}")

    def _skip_padding(self) -> None:
        self.has_padding = True
        rest = self._input[self._at :]
        while rest:
            if rest.count(0) != len(rest):
                raise self._error("is damaged: other bytes follow it")
            rest = self._input if self._refill() else b""
        self._at = len(self._input)

    def _refill(self) -> bool:
        self._input = self._stream.read(self._chunk) or b""
        self._at = 0
        self._input_size += len(self._input)
        return bool(self._input)

    def _check_size(self, added: int) -> None:
        self._output_size += added
        if self._output_size > self._most:
            raise self._error(f"expands to more than {self._most} bytes")
        if self._any_ratio:
            return
        if self._output_size > self._input_size * self._coding.most_ratio:
            raise self._error(f"expands more than {self._coding.most_ratio}-fold")

    def _error(self, problem: str) -> NixdockError:
        if self._failure is not None:
            return self._failure(f"the {self._coding} data {problem}")
        prefix = "" if self._place is None else f"{self._place}: "
        return ImageError(f"{prefix}the {self._coding} data {problem}", place=self._place)
