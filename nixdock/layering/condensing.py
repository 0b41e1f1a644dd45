"""Condense many paths into few clusters, which can then be compared with each other.

Neighbours are merged by the expected cost of updates. For that, each path needs its cone, and tens
of thousands of cones take gigabytes. So the cones of a closure of more than `MOST_SETS` paths are
sketches at first: a column of a sketch stands for several paths of one class of rates, and is set
if the cone has one of them. The number of paths is estimated from the number of columns, by linear
counting: it is nearly exact for small cones, and off by a few percent for large ones. The clusters
that come out of it have exact cones again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, Final
from zlib import crc32

from msgspec.structs import replace

from nixdock.layering.clusters import Cluster, clusters_of, joint_clusters
from nixdock.layering.merging import merge_neighbours
from nixdock.layering.package_keys import package_keys
from nixdock.layering.reach import MOST_SETS, select

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel, RateClass
    from nixdock.nix.store_path import StorePath

__all__ = ["condense", "pieces_to_pair", "sketched"]

_FEW: Final = 2048
"""The cones of so few paths are exact in any closure."""
_MOST_PAIRED: Final = 300
"""So many clusters can be compared with each other, whatever the number of layers."""


def pieces_to_pair(budget: int) -> int:
    """Return to how many clusters paths are condensed that are to have at most `budget` layers."""
    return max(_MOST_PAIRED, budget)


def condense(
    model: ChangeModel, paths: Collection[StorePath], count: int, columns: int = MOST_SETS
) -> list[Cluster]:
    """Return at most `count` clusters of `paths`, made by merging neighbours.

    `columns` is the greatest number of columns of a sketch.
    """
    if len(model.reach.order) <= columns or len(paths) <= _FEW:
        return merge_neighbours(model, clusters_of(model, paths), count)
    sketch, marks = sketched(model, columns)
    sets = model.reach.cones_below(marks)
    index, ranks = model.reach.index, model.reach.ranks
    by_name = sorted((index[path] for path in paths), key=ranks.__getitem__)
    pieces = [Cluster((i,), model.sizes[i], sets[i], sketch.probability(sets[i])) for i in by_name]
    del sets
    merged = merge_neighbours(sketch, pieces, count)
    return joint_clusters(model, [cluster.members for cluster in merged])


def sketched(model: ChangeModel, columns: int) -> tuple[ChangeModel, list[int]]:
    """Return a model that gives the probabilities of sketches, and the column of each path.

    A sketch is a set of at most `columns` columns, and so is the column of a path. Small classes
    have a column for each path. In others, a checksum of the package's key chooses the column, so
    that updates move no package.
    """
    members = [[*select(range(len(model.sizes)), rates.members)] for rates in model.classes]
    width = 1
    largest = max(map(len, members), default=0)
    while width < largest and sum(min(len(m), 2 * width) for m in members) <= columns:
        width *= 2
    marks = [0] * len(model.sizes)
    keys = {path: key for key, path in package_keys(model.reach.order).items()}
    key_of = [keys[path].encode() for path in model.reach.order]
    classes = []
    top = start = 0
    for rates, numbers in zip(model.classes, members, strict=True):
        used = min(len(numbers), width)
        for at, i in enumerate(numbers):
            column = at if used == len(numbers) else crc32(key_of[i]) % used
            marks[i] = 1 << (start + column)
        sketch = _sketched_class(rates, len(numbers), used, start)
        if rates.members & model.top:
            top |= sketch.members
        classes.append(sketch)
        start += used
    return dataclasses.replace(model, classes=tuple(classes), top=top), marks


def _sketched_class(rates: RateClass, count: int, used: int, start: int) -> RateClass:
    """Return the class of `count` paths with `used` columns from `start` on, in place of paths."""
    counts = _estimates(count, used) if used < count else range(count + 1)
    return replace(
        rates,
        members=(1 << used) - 1 << start,
        app_unchanged=tuple(rates.app_unchanged[n] for n in counts),
        other_unchanged=tuple(rates.other_unchanged[n] for n in counts),
    )


def _estimates(count: int, columns: int) -> list[int]:
    """Return, for each number of columns that are set, of how many of `count` paths that is likely.

    Each path leaves a column as it is with the probability 1 - 1 / `columns`. Without logarithms,
    all machines get the same numbers.
    """
    estimates = []
    paths, empty = 0, 1.0
    for number in range(columns + 1):
        while paths < count and columns * (1.0 - empty) < number - 0.5:
            paths += 1
            empty *= 1.0 - 1.0 / columns
        estimates.append(paths)
    return estimates
