"""Time the compressors against zlib's level 6, one thread each, on the bytes of real files.

    python compressors.py BYTES REPEAT PATH...

Prints a JSON object: for each compressor, the times and the compressed size.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from nixdock.layers.compression import Compression
from nixdock.layers.compressors import compressor

__all__ = ["compressed_size", "sample", "zlib_size"]

_CHUNK = 1 << 20


def main(size: int, repeat: int, trees: Sequence[Path]) -> None:
    """Compress the first `size` bytes of the files of `trees`."""
    data = sample(trees, size)
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


def sample(trees: Sequence[Path], size: int) -> bytes:
    """Return the first `size` bytes of the files of `trees`, in the order of their names."""
    data = bytearray()
    for file in chain.from_iterable(map(_files, trees)):
        if not file.is_symlink():
            data += file.read_bytes()
        if len(data) >= size:
            break
    return bytes(data[:size])


def _files(tree: Path) -> Iterator[Path]:
    if not tree.is_dir():
        yield tree
    for parent, directories, names in os.walk(tree):
        directories.sort()
        for name in sorted(names):
            yield Path(parent, name)


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
    main(int(sys.argv[1]), int(sys.argv[2]), [Path(tree) for tree in sys.argv[3:]])
