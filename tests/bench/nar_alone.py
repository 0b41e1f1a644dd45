"""The floor for packing from a cache: to decompress NARs and to hash all of it twice, on all cores.

The bytes are hashed in the NAR, which must be the promised one, and in the layer.

python nar_alone.py FILE.nar.zst...
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from nixdock.coding.libzstd import zstd

_CHUNK = 1 << 20


def _hash(file: str) -> None:
    digest, layer = hashlib.sha256(), hashlib.sha256()
    with zstd.open(file, "rb") as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
            layer.update(piece)
    digest.hexdigest()
    layer.hexdigest()


def main(files: Sequence[str]) -> None:
    """Share the files among the cores, the largest first."""
    order = sorted(files, key=lambda file: -Path(file).stat().st_size)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as executor:
        list(executor.map(_hash, order))


if __name__ == "__main__":
    main(sys.argv[1:])
