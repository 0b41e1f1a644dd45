"""Join clusters, those first that cost least to have together.

The pair whose merging raises the expected cost least is merged, again and again. All pairs of
thousands of clusters are too many, so if there are that many, first just neighbours in the order
of how likely they change are merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from nixdock.layering.change_model import LAYER_OVERHEAD
from nixdock.layering.clusters import Cluster, joined

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel

__all__ = ["Merger", "bucketed", "merge", "mergers"]


@dataclass(frozen=True, slots=True)
class Merger:
    """The step that joins two clusters, and by how much that raises the cost."""

    rise: float
    first: int
    second: int
    cluster: Cluster


def merge(model: ChangeModel, clusters: Sequence[Cluster], budget: int) -> list[Cluster]:
    """Join `clusters` to at most `budget`, and to fewer as long as that saves anything."""
    alive: dict[int, Cluster] = dict(enumerate(clusters))
    for number, merger in enumerate(mergers(model, clusters), len(clusters)):
        if len(alive) <= budget and merger.rise >= 0:
            break
        del alive[merger.first], alive[merger.second]
        alive[number] = merger.cluster
    return list(alive.values())


def mergers(model: ChangeModel, clusters: Sequence[Cluster]) -> Iterator[Merger]:
    """Yield the cheapest merger again and again, until all are one.

    Clusters are numbered in order; those that mergers make are numbered on from there.
    """
    alive: dict[int, Cluster] = {}
    heap: list[tuple[float, bool, int, int]] = []
    for number, cluster in enumerate(clusters):
        heap += _bounds(alive, number, cluster)
        alive[number] = cluster
    heapify(heap)
    probability = model.probability
    while heap:
        rise, exact, first, second = heappop(heap)
        one, other = alive.get(first), alive.get(second)
        if one is None or other is None:
            continue
        if not exact:
            # Most pairs are never looked at this closely: the bound rules them out.
            rise = _rise(one, other, probability(one.cone | other.cone))
            heappush(heap, (rise, True, first, second))
            continue
        merged = joined(model, (one, other))
        yield Merger(rise, first, second, merged)
        del alive[first], alive[second]
        number += 1
        for bound in _bounds(alive, number, merged):
            heappush(heap, bound)
        alive[number] = merged


def _bounds(
    alive: Mapping[int, Cluster], number: int, cluster: Cluster
) -> list[tuple[float, bool, int, int]]:
    """Return the least by which mergers with `cluster` can raise the cost.

    Together, two change at least as likely as the likelier one.
    """
    likely = cluster.probability
    return [
        (_rise(other, cluster, max(likely, other.probability)), False, i, number)
        for i, other in alive.items()
    ]


def _rise(one: Cluster, other: Cluster, probability: float) -> float:
    """Return what the merger of two costs more than they do, if it has that probability."""
    together = (one.size + other.size + LAYER_OVERHEAD) * probability
    return together - one.cost - other.cost


def bucketed(model: ChangeModel, pieces: Sequence[Cluster], count: int) -> list[Cluster]:
    """Join neighbours, by how likely they change, until there are at most `count`."""
    line = sorted(pieces, key=lambda piece: (piece.probability, piece.cone.bit_count()))
    before, after = [*range(-1, len(line) - 1)], [*range(1, len(line) + 1)]
    stamps = [0] * len(line)
    heap: list[tuple[float, int, int, int, int]] = []

    def weigh(first: int, second: int) -> None:
        if first >= 0 and second < len(line):
            one, other = line[first], line[second]
            rise = _rise(one, other, model.probability(one.cone | other.cone))
            heappush(heap, (rise, first, second, stamps[first], stamps[second]))

    left = len(line)
    if left > count:
        for i in range(len(line) - 1):
            weigh(i, i + 1)
    gone = set()
    while left > count:
        _, first, second, *seen = heappop(heap)
        if seen != [stamps[first], stamps[second]]:
            continue
        line[first] = joined(model, (line[first], line[second]))
        gone.add(second)
        stamps[first] += 1
        stamps[second] = -1
        after[first] = after[second]
        if after[first] < len(line):
            before[after[first]] = first
        weigh(before[first], first)
        weigh(first, after[first])
        left -= 1
    return [cluster for i, cluster in enumerate(line) if i not in gone]
