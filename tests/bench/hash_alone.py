"""The floor for packing: SHA-256 of as many bytes as the layers have, on all cores.

    python hash_alone.py SIZE...

Nothing is read: each layer's worth of bytes comes from one small buffer, again and again. There
is a process for each core, and the largest layers come first.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence

_BUFFER = bytes(1 << 20)
_WIDTH = 8


def _hash(size: int) -> None:
    digest = hashlib.sha256()
    for _ in range(size // len(_BUFFER)):
        digest.update(_BUFFER)
    digest.update(_BUFFER[: size % len(_BUFFER)])
    digest.hexdigest()


def main(sizes: Sequence[int]) -> None:
    """Share the sizes among the cores through a pipe: each free process reads the next one."""
    todo, fill = os.pipe()
    os.write(fill, b"".join(size.to_bytes(_WIDTH, "little") for size in sorted(sizes)[::-1]))
    os.close(fill)
    workers = []
    affinity = getattr(os, "sched_getaffinity", None)
    for _ in range(len(affinity(0)) if affinity else os.cpu_count() or 1):
        pid = os.fork()
        if not pid:
            while record := os.read(todo, _WIDTH):
                _hash(int.from_bytes(record, "little"))
            os._exit(0)
        workers.append(pid)
    for pid in workers:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]])
