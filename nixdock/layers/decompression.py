"""Decompression with limits: gzip of several members, zstd of several frames, xz."""

from __future__ import annotations

import io
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from nixdock.errors import ImageError
from nixdock.oci.coding import Coding
from nixdock.system.readers import ForwardReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["MOST_EXPANDED", "DecompressedReader"]

MOST_EXPANDED: Final = 64 << 30
"""The largest size in bytes that a layer or a whole archive may expand to."""

_INPUT_CHUNK: Final = 1 << 18
_OUTPUT_CHUNK: Final = 1 << 20
_MOST_XZ_MEMORY: Final = 256 << 20


class _Frame(Protocol):
    """A decompressor of one gzip member, zstd frame or xz stream, as in the standard library."""

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


def _zstd() -> Any:
    from nixdock.layers.libzstd import zstd  # noqa: PLC0415 (loaded only if it is used)

    return zstd


class DecompressedReader(ForwardReader):
    """Decompress `stream`, whose coding is not Coding.NONE.

    Reading raises ImageError if the data is damaged, truncated or followed by other bytes, or if it
    expands to more than `most` bytes (default MOST_EXPANDED) or by more than `coding.most_ratio`.
    `place` says where the data is, for the error.
    """

    def __init__(
        self,
        stream: io.RawIOBase,
        coding: Coding,
        place: str | None = None,
        most: int | None = None,
    ) -> None:
        super().__init__(stream)
        self._place = place
        self._coding = coding
        self._most = MOST_EXPANDED if most is None else most
        self._errors: tuple[type[Exception], ...] = (zlib.error, lzma.LZMAError, EOFError)
        if coding is Coding.ZSTD:
            self._errors += (_zstd().ZstdError,)
        # None between two frames.
        self._frame: _Frame | None = self._new_frame()
        self._input = b""
        self._output = memoryview(b"")
        self._input_size = 0
        self._output_size = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        if not self._output:
            self._output = memoryview(self._next_output())
        view = memoryview(buffer)
        count = min(len(view), len(self._output))
        view[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _new_frame(self) -> _Frame:
        if self._coding is Coding.GZIP:
            return _GzipMember()
        if self._coding is Coding.XZ:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_XZ_MEMORY)
        # libzstd itself refuses windows above 128 MiB.
        frame: _Frame = _zstd().ZstdDecompressor()
        return frame

    def _next_output(self) -> bytes:
        """Return the next bytes of output, none at the end of the stream."""
        while True:
            if self._frame is None:
                if not self._input and not self._refill():
                    return b""
                self._frame = self._new_frame()
            at_end = False
            if self._frame.needs_input and not self._input:
                at_end = not self._refill()
            try:
                data = self._frame.decompress(self._input, _OUTPUT_CHUNK)
            except self._errors as error:
                raise self._error(f"is damaged: {error}") from None
            self._input = b""
            if self._frame.eof:
                self._input = self._frame.unused_data
                self._frame = None
            elif at_end and not data:
                raise self._error("is truncated")
            if data:
                self._check_size(len(data))
                return data

    def _refill(self) -> bool:
        self._input = self._stream.read(_INPUT_CHUNK) or b""
        self._input_size += len(self._input)
        return bool(self._input)

    def _check_size(self, added: int) -> None:
        self._output_size += added
        if self._output_size > self._most:
            raise self._error(f"expands to more than {self._most} bytes")
        if self._output_size > self._input_size * self._coding.most_ratio:
            raise self._error(f"expands more than {self._coding.most_ratio}-fold")

    def _error(self, problem: str) -> ImageError:
        prefix = "" if self._place is None else f"{self._place}: "
        return ImageError(f"{prefix}the {self._coding} data {problem}", place=self._place)
