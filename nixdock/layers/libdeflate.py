"""gzip members by libdeflate, from the `deflate` wheel or from a shared library.

Versions of libdeflate are of two generations so far, which compress some data to different bytes:
up to 1.18 or so, and those since. Layers need the same bytes on every machine, so a library is used
only if it compresses a sample as GENERATION does.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from nixdock.errors import ToolError
from nixdock.layers.encoder_probe import encoder_digest

__all__ = ["GENERATION", "SAMPLE_DIGESTS", "gzip_member_compressor"]

GENERATION: Final = "libdeflate 1.25"
"""A version that compresses to the required bytes; 1.23 and `deflate` 0.5 to 0.9 do so too."""

SAMPLE_DIGESTS: Final = {
    1: "7e79c1f33b02d23c6f6f1ec20a6b1f1702e975f4aaf8f5ff604ef616692ebff5",
    2: "84cb0eeee1ac2a4655bc2ed0f86d5f08dc3d46b83560bd9505bdffbc91f95eeb",
    3: "da39df67e327764722fda31c96d928e14d02fd6481ba351687cbc1e4a2a21a4e",
    4: "c9a2ddf64f67364d5e79a46c57d7510c1e12b3f4c35afbcda3fcc277fcf9bc96",
    5: "07a2c6178973e17ba9d143674d30a82939873967e2899f1f8fb0f7115a57832d",
    6: "1ef0a78b06899526e4e9751df12864919b2422e604462da648bae32ac936e1e1",
    7: "1cadc7c1e0ed037e966e3d0c1108b689e2b920a64245e1b3a8a51f6e8f4c3260",
    8: "c116baba5479a27fed6e021902b9c4b5b717028faf9fc9443ba35f278ff06399",
    9: "be0bd559f54099df69a409cd840fcff6d9b144548418eb1416fc74e43be9ad70",
    10: "3f75ceec91a74f01dcb8abb8089bbfb3c60de5d34a93e24b663cf63fc086c31c",
    11: "5301107888dd44c3c478bfe63d0dbe8c62251e39ea279a30f499f57d53e58a78",
    12: "6ced4617452f274a84bf24300f96b678096b26f167089c6a25e9f4d80fa38fbf",
}
"""What `encoder_digest` returns, by level, for libraries that compress as GENERATION does."""

_VARIABLE: Final = "NIXDOCK_LIBDEFLATE"
_REMEDY: Final = (
    "install the Python package deflate, 0.8 or 0.9, or a current libdeflate, such as nixpkgs', and"
    f" name its library in {_VARIABLE}; or choose another compression"
)

_Compress = Callable[[bytes], bytes]


@cache
def gzip_member_compressor(level: int) -> _Compress:
    """Return a thread-safe function that compresses data to one gzip member without time or name.

    A library that NIXDOCK_LIBDEFLATE names is used, or else the wheel, or else the system's
    library. Raise ToolError if that library is missing or compresses to other bytes than
    GENERATION, or if there is none.
    """
    file = os.environ.get(_VARIABLE)
    if file:
        return _named(file, level)
    others = []
    for origin, compress in _installed(level):
        if _is_required(compress, level):
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


def _named(file: str, level: int) -> _Compress:
    try:
        compress = _from_library(ctypes.CDLL(file), level)
    except (OSError, AttributeError) as error:
        raise ToolError(
            f"{_VARIABLE} names {file}, which can't be loaded as libdeflate: {error}", path=file
        ) from None
    if not _is_required(compress, level):
        raise ToolError(
            f"{_VARIABLE} names {file}, which compresses to other bytes than {GENERATION}:"
            f" {_REMEDY}",
            path=file,
        )
    return compress


def _installed(level: int) -> Iterator[tuple[str, _Compress]]:
    """Yield the libraries on this machine, with what to call each in a message."""
    try:
        from deflate import gzip_compress  # noqa: PLC0415 (not in nixpkgs)
    except ImportError:
        pass
    else:
        yield "the Python package deflate", lambda data: bytes(gzip_compress(data, level))
    from ctypes.util import find_library  # noqa: PLC0415 (slow)

    found = find_library("deflate")
    for name in dict.fromkeys(filter(None, (found, "libdeflate.so.0", "libdeflate.dylib"))):
        try:
            yield f"the system's {name}", _from_library(ctypes.CDLL(name), level)
        except (OSError, AttributeError):
            continue


def _is_required(compress: _Compress, level: int) -> bool:
    return encoder_digest(compress) == SAMPLE_DIGESTS[level]


def _from_library(library: ctypes.CDLL, level: int) -> _Compress:
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
