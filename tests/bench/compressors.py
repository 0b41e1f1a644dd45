"""Time the compressors against zlib's level 6, one thread each, on the bytes of real files.

    python compressors.py DIRECTORY BYTES REPEAT

Prints a JSON object: for each compressor, the times and the compressed size.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from nixdock.layers.compression import Compression
from nixdock.layers.compressors import compressor

__all__ = ["compressed_size", "sample", "zlib_size"]

_CHUNK = 1 << 20


def main(directory: Path, size: int, repeat: int) -> None:
    """Compress the first `size` bytes of the files below `directory`."""
    data = sample(directory, size)
    rivals: dict[str, Callable[[bytes], int]] = {
        "zlib": zlib_size,
        "gzip": lambda data: compressed_size(data, Compression.GZIP),
        "zstd": lambda data: compressed_size(data, Compression.ZSTD),
    }
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    sizes: dict[str, int] = {}
    for _ in range(repeat):
        for name, compress in rivals.items():
            start = time.perf_counter()
            sizes[name] = compress(data)
            seconds[name].append(time.perf_counter() - start)
    print(json.dumps({"bytes": len(data), "seconds": seconds, "sizes": sizes}))


def sample(directory: Path, size: int) -> bytes:
    """Return the first `size` bytes of the files below `directory`, in the order of their names."""
    data = bytearray()
    for parent, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            file = Path(parent, name)
            if not file.is_symlink():
                data += file.read_bytes()
            if len(data) >= size:
                return bytes(data[:size])
    return bytes(data)


def zlib_size(data: bytes) -> int:
    """Return to how many bytes zlib's level 6 compresses data."""
    compress = zlib.compressobj(6, wbits=31)
    chunks = (data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK))
    return sum(len(compress.compress(chunk)) for chunk in chunks) + len(compress.flush())


def compressed_size(data: bytes, compression: Compression) -> int:
    """Return to how many bytes a single thread of nixdock compresses data."""
    size = 0

    def count(out: bytes | memoryview) -> None:
        nonlocal size
        size += len(out)

    with compressor(compression, count) as compress:
        for at in range(0, len(data), _CHUNK):
            compress.write(data[at : at + _CHUNK])
    return size


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
