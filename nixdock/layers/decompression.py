"""Decompression with limits: gzip of several members, zstd of several frames, xz."""

from __future__ import annotations

import io
import lzma
import sys
import zlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from nixdock.errors import ImageError
from nixdock.oci.coding import Coding
from nixdock.system.readers import ForwardReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["MOST_EXPANDED", "DecompressedReader"]

MOST_EXPANDED: Final = 64 << 30
"""The size in bytes that a layer or a whole archive may expand to."""

_READ: Final = 1 << 18
_WRITTEN: Final = 1 << 20
_MEMORY: Final = 256 << 20


class _Frame(Protocol):
    """One gzip member, zstd frame or xz stream, as the standard library decompresses them."""

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
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 (only when it is needed)
    else:
        from backports import zstd  # noqa: PLC0415 (only when it is needed)
    return zstd


class DecompressedReader(ForwardReader):
    """What `stream`, which is not Coding.NONE, holds when it is decompressed.

    Raise ImageError, which starts with `what`, when it is damaged, ends early, has other bytes
    behind its end, or expands to more than `most` bytes, else MOST_EXPANDED, or by more than its
    format's ratio.
    """

    def __init__(
        self,
        stream: io.RawIOBase,
        coding: Coding,
        what: str = "the file",
        most: int | None = None,
    ) -> None:
        super().__init__(stream)
        self._what = f"{what}, which is {coding} data,"
        self._coding = coding
        self._most = MOST_EXPANDED if most is None else most
        self._errors: tuple[type[Exception], ...] = (zlib.error, lzma.LZMAError, EOFError)
        if coding is Coding.ZSTD:
            self._errors += (_zstd().ZstdError,)
        self._frame: _Frame | None = self._new_frame()
        self._waiting = b""
        self._ready = memoryview(b"")
        self._read = 0
        self._written = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        if not self._ready:
            self._ready = memoryview(self._next())
        view = memoryview(buffer)
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _new_frame(self) -> _Frame:
        if self._coding is Coding.GZIP:
            return _GzipMember()
        if self._coding is Coding.XZ:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
        # libzstd's own limit of the window is 128 MiB.
        frame: _Frame = _zstd().ZstdDecompressor()
        return frame

    def _next(self) -> bytes:
        """Return some bytes, none at the end."""
        while True:
            if self._frame is None:
                if not self._waiting and not self._refill():
                    return b""
                self._frame = self._new_frame()
            at_end = False
            if self._frame.needs_input and not self._waiting:
                at_end = not self._refill()
            try:
                data = self._frame.decompress(self._waiting, _WRITTEN)
            except self._errors as error:
                raise ImageError(f"{self._what} is damaged: {error}") from None
            self._waiting = b""
            if self._frame.eof:
                self._waiting = self._frame.unused_data
                self._frame = None
            elif at_end and not data:
                raise ImageError(f"{self._what} ends in the middle")
            if data:
                self._count(len(data))
                return data

    def _refill(self) -> bool:
        self._waiting = self._stream.read(_READ) or b""
        self._read += len(self._waiting)
        return bool(self._waiting)

    def _count(self, size: int) -> None:
        self._written += size
        if self._written > self._most:
            raise ImageError(f"{self._what} expands to more than {self._most} bytes")
        if self._written > self._read * self._coding.most_ratio:
            raise ImageError(f"{self._what} expands more than {self._coding.most_ratio}-fold")
