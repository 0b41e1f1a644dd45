"""Plan one large closure in this process, and print the seconds and the megabytes that it took."""

from __future__ import annotations

import random
import resource
import sys
import time
from itertools import pairwise

from nixdock.layering.options import LayeringOptions
from nixdock.layering.plan_history import PreviousPlan
from nixdock.layering.stable import plan_stable
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.store_path import StorePath

from .replay import successor

__all__ = ["chain_closure", "main", "pareto_closure", "wide_closure"]

_BUDGET = 99
_LEVELS = 30
_SIZES = (12.5, 1.8)
_COPIED = 0.7
_MOST_REFERENCES = 8


def main(shape: str) -> None:
    """Plan anew, then with the plan as the previous one, and after all but one path changed."""
    closure = chain_closure(20_000) if shape == "chain" else wide_closure(int(shape))
    start = time.perf_counter()
    plan = plan_stable(closure, _BUDGET)
    times = [start, time.perf_counter()]
    if successor(closure, _BUDGET, plan) != plan:
        raise AssertionError("an unchanged closure has another plan")
    times.append(time.perf_counter())
    previous = PreviousPlan(((next(iter(closure.infos)),),))
    plan_stable(closure, _BUDGET, LayeringOptions(previous=previous))
    times.append(time.perf_counter())
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(*(after - before for before, after in pairwise(times)), memory)


def wide_closure(count: int) -> Closure:
    """Return a graph of some levels, where few paths are used by many and sizes vary widely."""
    draw = random.Random(count)
    paths = [_path(draw, f"package{i}-1.{i % 9}") for i in range(count)]
    width = max(1, count // _LEVELS)
    infos = []
    for i, path in enumerate(paths):
        below = i // width * width
        references = set()
        if below:
            references = {below - width + draw.randrange(width)}
            references |= {int(below * draw.random() ** 2) for _ in range(draw.randrange(8))}
        infos.append(PathInfo(path, _size(draw), None, tuple(paths[j] for j in sorted(references))))
    return Closure.of(infos)


def pareto_closure(count: int) -> Closure:
    """Return a graph in which few paths have very many referrers, below one root.

    Most references are those that a path before has, too: so the numbers of referrers follow a
    Pareto distribution.
    """
    draw = random.Random(count)
    paths = [_path(draw, f"package{i}-1.{i % 9}") for i in range(count)]
    references: list[set[int]] = []
    popular: list[int] = []
    for i in range(count - 1):
        found = {
            draw.choice(popular) if popular and draw.random() < _COPIED else draw.randrange(i)
            for _ in range(draw.randint(0, _MOST_REFERENCES) if i else 0)
        }
        references.append(found)
        popular += sorted(found)
    references.append({*range(count - 1)}.difference(*references))
    return Closure.of(
        PathInfo(path, _size(draw), None, tuple(paths[j] for j in sorted(found)))
        for path, found in zip(paths, references, strict=True)
    )


def chain_closure(count: int) -> Closure:
    """Return a graph in which each path refers to the one before."""
    draw = random.Random(count)
    paths = [_path(draw, f"link{i}-1.0") for i in range(count)]
    return Closure.of(
        PathInfo(path, 1000 + i * 37 % 9000, None, tuple(paths[i - 1 : i] if i else ()))
        for i, path in enumerate(paths)
    )


def _size(draw: random.Random) -> int:
    return int(min(draw.lognormvariate(*_SIZES), 3e8))


def _path(draw: random.Random, name: str) -> StorePath:
    return StorePath(f"/nix/store/{draw.randrange(10**32):032}-{name}")


if __name__ == "__main__":
    main(sys.argv[1])
