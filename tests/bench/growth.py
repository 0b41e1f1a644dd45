"""Time one job on a made-up graph, and print the seconds.

    python growth.py popularity|auto|database levels|chain PATHS

In `levels`, each path refers to three others, and the longest chain has 200 paths; in `chain`, each
path refers to the one before.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from nixdock.layering.auto import plan_auto
from nixdock.layering.ranking import popularity_ranking
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.database import write_nix_db
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath

_BUDGET = 99
_DEPTH = 200
_REFERENCES = 3


def main(job: str, shape: str, count: int) -> None:
    """Rank, plan or register `count` paths."""
    closure = _levels(count) if shape == "levels" else _chain(count)
    if len(closure.graph) != count:
        raise AssertionError("the graph is not whole")
    with tempfile.TemporaryDirectory(prefix="nixdock-bench-") as directory:
        start = time.perf_counter()
        if job == "database":
            write_nix_db(closure, Path(directory), registration_time=1)
        elif job == "auto":
            plan_auto(closure, _BUDGET)
        else:
            popularity_ranking(closure)
        print(time.perf_counter() - start)


def _levels(count: int) -> Closure:
    chance = random.Random(count)
    paths = _paths(count)
    return Closure.of(
        PathInfo(
            path,
            nar_size=chance.randrange(1, 10**7),
            nar_hash=Hash("sha256", chance.randbytes(32)),
            references=tuple(paths[j] for j in _lower(chance, i, count)),
        )
        for i, path in enumerate(paths)
    )


def _chain(count: int) -> Closure:
    paths = _paths(count)
    return Closure.of(
        PathInfo(
            path, nar_size=1000 + i * 37 % 9000, references=tuple(paths[i - 1 : i] if i else ())
        )
        for i, path in enumerate(paths)
    )


def _paths(count: int) -> list[StorePath]:
    return [StorePath(f"/nix/store/{i:032}-path-{i}") for i in range(count)]


def _lower(chance: random.Random, number: int, count: int) -> set[int]:
    width = count // min(_DEPTH, count)
    level = number // width
    if not level:
        return set()
    nearest = (level - 1) * width + chance.randrange(width)
    return {nearest, *(chance.randrange(level * width) for _ in range(_REFERENCES - 1))}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
