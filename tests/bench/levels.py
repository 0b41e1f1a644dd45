"""`python -m tests.bench.levels DIRECTORY`: the table of compression levels in docs/formats.md.

It is of the first bytes of the files below a directory. A push compresses while it sends, so it
takes as long as the slower of the two.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from nixdock.layers.compression import Compression

from .compressors import compressed_size, sample, zlib_size

_LEVELS: Final = (*(f"gzip:{n}" for n in (1, 4, 5, 6, 9)), *(f"zstd:{n}" for n in (1, 2, 3, 9)))
_SIZE: Final = 200 << 20
_TURNS: Final = 3
_CORES: Final = 2
_BANDWIDTHS: Final = (0.1, 1, 10)


def rows(data: bytes) -> Iterator[str]:
    """Yield the lines of the table."""
    speeds = " | ".join(f"{speed:g} Gbit/s" for speed in _BANDWIDTHS)
    yield f"| level | size | CPU seconds for 1 GB | a push of 1 GB at {speeds} |"
    yield "|---" * (3 + len(_BANDWIDTHS)) + "|"
    yield _row(f"zlib {zlib.Z_BEST_COMPRESSION - 3}", data, zlib_size)
    for text in _LEVELS:
        compression = Compression.of(text)
        name = f"**`{text}`**" if compression in {Compression.GZIP, Compression.ZSTD} else text
        yield _row(name, data, partial(compressed_size, compression=compression))


def _row(name: str, data: bytes, compress: Callable[[bytes], int]) -> str:
    times = []
    for _ in range(_TURNS):
        start = time.process_time()
        size = compress(data)
        times.append(time.process_time() - start)
    cpu = min(times) / len(data) * 1e9
    part = size / len(data)
    pushes = [max(cpu / _CORES, part * 8 / bandwidth) for bandwidth in _BANDWIDTHS]
    seconds = " | ".join(f"{push:.1f} s" for push in pushes)
    return f"| {name} | {part:.1%} | {cpu:.1f} | {seconds} |"


if __name__ == "__main__":
    for row in rows(sample([Path(sys.argv[1])], _SIZE)):
        print(row, flush=True)
