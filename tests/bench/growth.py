"""Time the popularity contest, or the Nix database, of a made-up graph and print the seconds.

    python growth.py popularity|database PATHS

Each path refers to three others, and the longest chain has 200 paths.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from nixdock.layering.ranking import popularity_ranking
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.database import write_nix_db
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath

_DEPTH = 200
_REFERENCES = 3


def main(what: str, count: int) -> None:
    """Rank or register `count` paths."""
    closure = _closure(count)
    if len(closure.graph) != count:
        raise AssertionError("the graph is not whole")
    with tempfile.TemporaryDirectory(prefix="nixdock-bench-") as directory:
        start = time.perf_counter()
        if what == "database":
            write_nix_db(closure, Path(directory), registration_time=1)
        else:
            popularity_ranking(closure)
        print(time.perf_counter() - start)


def _closure(count: int) -> Closure:
    chance = random.Random(count)
    paths = [StorePath(f"/nix/store/{i:032}-path-{i}") for i in range(count)]
    return Closure.of(
        PathInfo(
            path,
            nar_hash=Hash("sha256", chance.randbytes(32)),
            references=tuple(paths[j] for j in _lower(chance, i, count)),
        )
        for i, path in enumerate(paths)
    )


def _lower(chance: random.Random, number: int, count: int) -> set[int]:
    width = count // min(_DEPTH, count)
    level = number // width
    if not level:
        return set()
    nearest = (level - 1) * width + chance.randrange(width)
    return {nearest, *(chance.randrange(level * width) for _ in range(_REFERENCES - 1))}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
