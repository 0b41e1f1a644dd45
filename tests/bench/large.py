"""Plan one large closure in this process, and print the seconds that each job takes.

    python -m tests.bench.large pareto|wide|chain PATHS [JOB ...]

The last number is the memory of the process in megabytes. The jobs are the strategies, `previous`
(`stable` with its own plan as the previous one), `update` (the same after some paths changed, and
all that refer to these) and `rebuild` (`stable` after all but one path changed); without any, they
are `stable`, `previous`, `update` and `rebuild`.
"""

from __future__ import annotations

import gc
import random
import resource
import sys
import time
from collections.abc import Callable
from typing import Final

from nixdock.layering.options import LayeringOptions
from nixdock.layering.plan import LayerPlan
from nixdock.layering.plan_history import PreviousPlan
from nixdock.layering.reach import Reach
from nixdock.layering.stable import plan_stable
from nixdock.layering.strategies import layering_of
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.store_path import StorePath

from .replay import successor

__all__ = ["JOBS", "chain_closure", "main", "pareto_closure", "wide_closure"]

_BUDGET = 99
_LEVELS = 30
_SIZES = (12.5, 1.8)
_COPIED = 0.7
_MOST_REFERENCES = 8
_GROUPS = 5
_GROUPED = 50
_UPDATED = 200
"""One path of so many is updated."""


def main(shape: str, count: int, *jobs: str) -> None:
    """Time the jobs, one after the other, without the collector of cycles, as commands do."""
    gc.disable()
    closure = _SHAPES[shape](count)
    times = []
    for job in jobs or ("stable", "previous", "update", "rebuild"):
        plan = JOBS[job](closure)
        start = time.process_time()
        plan()
        times.append(time.process_time() - start)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(*times, memory)


def _by(strategy: str) -> Callable[[Closure], Callable[[], object]]:
    return lambda closure: lambda: layering_of(strategy).plan(closure, _BUDGET)


def _again(closure: Closure) -> Callable[[], object]:
    plan = plan_stable(closure, _BUDGET)

    def repeat() -> LayerPlan:
        if successor(closure, _BUDGET, plan) != plan:
            raise AssertionError("an unchanged closure has another plan")
        return plan

    return repeat


def _updated(closure: Closure) -> Callable[[], object]:
    plan = plan_stable(closure, _BUDGET)
    reach = Reach(closure)
    changed = {*reach.paths(reach.users(reach.order[::_UPDATED]))}
    draw = random.Random(len(changed))
    new = {path: _path(draw, path.name) if path in changed else path for path in closure.infos}
    after = Closure.of(
        PathInfo(new[info.path], info.nar_size, None, tuple(new[r] for r in info.references))
        for info in closure
    )
    return lambda: successor(after, _BUDGET, plan)


def _rebuilt(closure: Closure) -> Callable[[], object]:
    previous = PreviousPlan(((next(iter(closure.infos)),),))
    return lambda: plan_stable(closure, _BUDGET, LayeringOptions(previous=previous))


def _grouped(closure: Closure) -> Callable[[], object]:
    paths = [*closure.infos]
    step = max(1, len(paths) // _GROUPED)
    groups = [paths[start::step] for start in range(min(step, _GROUPS))]
    layering = layering_of("explicit", groups=groups)
    return lambda: layering.plan(closure, _BUDGET)


def _contest(closure: Closure) -> Callable[[], object]:
    pipeline = [["popularity_contest"], ["limit_layers", _BUDGET]]
    layering = layering_of("pipeline", pipeline=pipeline)
    return lambda: layering.plan(closure, _BUDGET)


JOBS: Final[dict[str, Callable[[Closure], Callable[[], object]]]] = {
    "popularity": _by("popularity"),
    "auto": _by("auto"),
    "stable": _by("stable"),
    "previous": _again,
    "update": _updated,
    "rebuild": _rebuilt,
    "explicit": _grouped,
    "pipeline": _contest,
}
"""Of a closure, each job makes what is timed."""


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


_SHAPES: Final = {"chain": chain_closure, "pareto": pareto_closure, "wide": wide_closure}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
