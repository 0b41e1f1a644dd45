"""gzip members by libdeflate, from the `deflate` wheel or from a shared library.

Versions of libdeflate are of two generations so far, which compress some data to different bytes:
up to 1.18 or so, and those since. Layers need the same bytes on every machine, so a library is used
only if it compresses a sample as GENERATION does.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from nixdock.errors import ToolError
from nixdock.layers.encoder_probe import encoder_digest

__all__ = ["GENERATION", "GZIP_SAMPLE_DIGEST", "LEVEL", "gzip_member_compressor"]

GENERATION: Final = "libdeflate 1.25"
"""A version that compresses to the required bytes; 1.23 and `deflate` 0.5 to 0.9 do so too."""

LEVEL: Final = 6

GZIP_SAMPLE_DIGEST: Final = "1ef0a78b06899526e4e9751df12864919b2422e604462da648bae32ac936e1e1"
"""What `encoder_digest` returns for libraries that compress as GENERATION does."""

_VARIABLE: Final = "NIXDOCK_LIBDEFLATE"
_REMEDY: Final = (
    "install the Python package deflate, 0.8 or 0.9, or a current libdeflate, such as nixpkgs', and"
    f" name its library in {_VARIABLE}; or choose another compression"
)

_Compress = Callable[[bytes], bytes]


@cache
def gzip_member_compressor() -> _Compress:
    """Return a thread-safe function that compresses data to one gzip member without time or name.

    A library that NIXDOCK_LIBDEFLATE names is used, or else the wheel, or else the system's
    library. Raise ToolError if that library is missing or compresses to other bytes than
    GENERATION, or if there is none.
    """
    file = os.environ.get(_VARIABLE)
    if file:
        return _named(file)
    others = []
    for origin, compress in _installed():
        if _is_required(compress):
            return compress
        others.append(origin)
    if others:
        message = (
            f"gzip compression needs a libdeflate that gives the same bytes as {GENERATION}, but"
            f" {' and '.join(others)} gives others: {_REMEDY}"
        )
    else:
        message = f"gzip compression needs libdeflate, which is not installed: {_REMEDY}"
    raise ToolError(message)


def _named(file: str) -> _Compress:
    try:
        compress = _from_library(ctypes.CDLL(file))
    except (OSError, AttributeError) as error:
        raise ToolError(
            f"{_VARIABLE} names {file}, which can't be loaded as libdeflate: {error}", path=file
        ) from None
    if not _is_required(compress):
        raise ToolError(
            f"{_VARIABLE} names {file}, which compresses to other bytes than {GENERATION}:"
            f" {_REMEDY}",
            path=file,
        )
    return compress


def _installed() -> Iterator[tuple[str, _Compress]]:
    """Yield the libraries on this machine, with what to call each in a message."""
    try:
        from deflate import gzip_compress  # noqa: PLC0415 (not in nixpkgs)
    except ImportError:
        pass
    else:
        yield "the Python package deflate", lambda data: bytes(gzip_compress(data, LEVEL))
    found = ctypes.util.find_library("deflate")
    for name in dict.fromkeys(filter(None, (found, "libdeflate.so.0", "libdeflate.dylib"))):
        try:
            yield f"the system's {name}", _from_library(ctypes.CDLL(name))
        except (OSError, AttributeError):
            continue


def _is_required(compress: _Compress) -> bool:
    return encoder_digest(compress) == GZIP_SAMPLE_DIGEST


def _from_library(library: ctypes.CDLL) -> _Compress:
    library.libdeflate_alloc_compressor.argtypes = [ctypes.c_int]
    library.libdeflate_alloc_compressor.restype = ctypes.c_void_p
    library.libdeflate_free_compressor.argtypes = [ctypes.c_void_p]
    library.libdeflate_gzip_compress_bound.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.libdeflate_gzip_compress_bound.restype = ctypes.c_size_t
    library.libdeflate_gzip_compress.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_size_t,
    ]
    library.libdeflate_gzip_compress.restype = ctypes.c_size_t

    def compress(data: bytes) -> bytes:
        # A compressor is not thread-safe; allocating one is cheap next to compressing 1 MiB.
        compressor = library.libdeflate_alloc_compressor(LEVEL)
        if not compressor:
            raise MemoryError
        try:
            bound = library.libdeflate_gzip_compress_bound(compressor, len(data))
            out = ctypes.create_string_buffer(bound)
            size = library.libdeflate_gzip_compress(compressor, data, len(data), out, bound)
        finally:
            library.libdeflate_free_compressor(compressor)
        return ctypes.string_at(out, size)

    return compress
