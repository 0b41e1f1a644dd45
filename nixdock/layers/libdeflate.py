"""gzip members by libdeflate, from its shared library or from the `deflate` wheel.

Both contain the same C code. The compressed bytes are fixed for one version of libdeflate, but may
differ between versions. The shared library is tried first, so that a Nix package or a distribution
does not need the wheel; the environment variable NIXDOCK_LIBDEFLATE sets its location.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Callable
from functools import cache

from nixdock.errors import ToolError

__all__ = ["gzip_member_compressor"]


@cache
def gzip_member_compressor(level: int) -> Callable[[bytes], bytes]:
    """Return a thread-safe function that compresses data to one gzip member without time or name.

    Raise ToolError if libdeflate is not installed.
    """
    name = os.environ.get("NIXDOCK_LIBDEFLATE") or ctypes.util.find_library("deflate")
    for candidate in filter(None, (name, "libdeflate.so.0", "libdeflate.dylib")):
        try:
            return _from_library(ctypes.CDLL(candidate), level)
        except OSError:
            continue
    try:
        from deflate import gzip_compress  # noqa: PLC0415 (an optional dependency)
    except ImportError:
        raise ToolError(
            "gzip compression needs libdeflate, which is not installed: install Debian's"
            " libdeflate0 or nixpkgs' libdeflate, or `pip install 'nixdock[gzip]'`, or choose"
            " another compression"
        ) from None
    return lambda data: bytes(gzip_compress(data, level))


def _from_library(library: ctypes.CDLL, level: int) -> Callable[[bytes], bytes]:
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
        compressor = library.libdeflate_alloc_compressor(level)
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
