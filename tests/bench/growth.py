"""Time the popularity contest on a made-up graph and print the seconds.

    python growth.py PATHS

Each path refers to three others, and the longest chain has 200 paths.
"""

from __future__ import annotations

import random
import sys
import time

from nixdock.closure import Closure, PathInfo
from nixdock.popularity import by_popularity
from nixdock.store_path import StorePath

_DEPTH = 200
_REFERENCES = 3


def main(count: int) -> None:
    """Rank `count` paths."""
    chance = random.Random(count)
    paths = [StorePath(f"/nix/store/{i:032}-path-{i}") for i in range(count)]
    closure = Closure.of(
        PathInfo(path, references=tuple(paths[j] for j in _lower(chance, i, count)))
        for i, path in enumerate(paths)
    )
    if len(closure.graph) != count:
        raise AssertionError("the graph is not whole")
    start = time.perf_counter()
    by_popularity(closure)
    print(time.perf_counter() - start)


def _lower(chance: random.Random, number: int, count: int) -> set[int]:
    width = count // min(_DEPTH, count)
    level = number // width
    if not level:
        return set()
    nearest = (level - 1) * width + chance.randrange(width)
    return {nearest, *(chance.randrange(level * width) for _ in range(_REFERENCES - 1))}


if __name__ == "__main__":
    main(int(sys.argv[1]))
