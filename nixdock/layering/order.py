"""The order of layers, bottom to top: layers that are large and rarely change are at the bottom.

Docker's classic storage downloads every layer above the first changed one again, so a layer costs
its bytes whenever it or any layer below it changes. Layers are placed from the bottom up by Smith's
rule of scheduling: next come those that add the least probability of a change per byte. Paths that
layers below already depend on add nothing, so a layer brings others along, which depend on nothing
else. In the end, single layers move to where they cost least.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import fsum
from operator import mul, or_
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.layering.change_model import LAYER_OVERHEAD

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.layering.clusters import Cluster

__all__ = ["layer_order"]

_ROUNDS: Final = 4
_LEAST_SAVED: Final = 1e-9
"""The share of the cost that a move must save, so that rounding errors move nothing."""


def layer_order(
    model: ChangeModel, clusters: Iterable[Cluster], top: int, below: int = 0
) -> list[Cluster]:
    """Return `clusters` bottom to top, those with members of `top` last.

    `below` is the union of the cones of the layers that are already placed below.
    """
    lower: list[Cluster] = []
    upper: list[Cluster] = []
    for cluster in clusters:
        at_top = any(top >> i & 1 for i in cluster.members)
        (upper if at_top else lower).append(cluster)
    placed = _improved(model, _by_added_weight(model, lower, below), below)
    for cluster in placed:
        below |= cluster.cone
    return placed + _improved(model, _by_added_weight(model, upper, below), below)


def _by_added_weight(model: ChangeModel, clusters: Iterable[Cluster], below: int) -> list[Cluster]:
    """Return the clusters by the weight that they add per byte, with those that add no more."""
    left = [*clusters]
    placed: list[Cluster] = []
    while left:
        cones = [cluster.cone | below for cluster in left]
        ratios = _ratios(model, left, cones, below)
        least = cones[ratios.index(min(ratios))]
        block = [cluster for cluster in left if cluster.cone | least == least]
        left = [cluster for cluster in left if cluster.cone | least != least]
        while block:
            ratios = [model.weight(c.cone & ~below) / (c.size + LAYER_OVERHEAD) for c in block]
            cluster = block.pop(ratios.index(min(ratios)))
            below |= cluster.cone
            placed.append(cluster)
    return placed


def _ratios(
    model: ChangeModel, clusters: Sequence[Cluster], cones: Sequence[int], below: int
) -> list[float]:
    """Return the weight that each cone adds, per byte of all clusters that it covers."""
    # A cone covers no larger one.
    by_count = sorted(zip(cones, clusters, strict=True), key=lambda pair: pair[0].bit_count())
    counts = [cone.bit_count() for cone, _ in by_count]
    sizes = [(cone, cluster.size + LAYER_OVERHEAD) for cone, cluster in by_count]
    return [
        model.weight(cone & ~below)
        / sum(
            [
                size
                for other, size in sizes[: bisect_right(counts, cone.bit_count())]
                if other | cone == cone
            ]
        )
        for cone in cones
    ]


def _improved(model: ChangeModel, clusters: Sequence[Cluster], below: int) -> list[Cluster]:
    """Move single clusters to where they cost least, until nothing is saved any more."""
    line = _line_of(model, clusters, below)
    # Those that are where they cost least, as the others are now.
    settled: set[Cluster] = set()
    for _ in range(_ROUNDS):
        for cluster in line.order:
            if cluster in settled:
                continue
            at = line.order.index(cluster)
            costs = _costs_of_places(model, line, at)
            place = costs.index(min(costs))
            if costs[place] < costs[at] * (1 - _LEAST_SAVED):
                order = [*line.order]
                order.insert(place, order.pop(at))
                line = _line_of(model, order, below)
                settled.clear()
            settled.add(cluster)
    return line.order


class _Line(Struct, frozen=True):
    """Clusters bottom to top, with the cone and the cost per probability of each.

    `below_place` has the cone of all layers below each place, and below the top, and `likely` its
    probability.
    """

    order: list[Cluster]
    cones: list[int]
    sizes: list[int]
    below_place: list[int]
    likely: list[float]


def _line_of(model: ChangeModel, clusters: Iterable[Cluster], below: int) -> _Line:
    order = [*clusters]
    cones = [cluster.cone for cluster in order]
    sizes = [cluster.size + LAYER_OVERHEAD for cluster in order]
    below_place = [*accumulate(cones, or_, initial=below)]
    return _Line(order, cones, sizes, below_place, model.probabilities(below_place))


def _costs_of_places(model: ChangeModel, line: _Line, at: int) -> list[float]:
    """Return the cost of all layers with the cluster `order[at]` at each place among the others.

    With one place further up, the cluster has one more layer below it, which no longer has the
    cluster below. `below_place` and `likely` are those of the line: they hold for the layers up to
    the cluster's place without it, and from there on with it.
    """
    own, size = line.cones[at], line.sizes[at]
    above = accumulate(line.cones[at + 1 :], or_, initial=line.below_place[at])
    without = [*line.likely[:at], *model.probabilities([*above])]
    moved_down = [cone | own for cone in line.below_place[:at]]
    with_it = [*model.probabilities(moved_down), *line.likely[at + 1 :]]
    sizes = [*line.sizes[:at], *line.sizes[at + 1 :]]
    now = with_it[1:]
    cost = size * with_it[0] + fsum(map(mul, sizes, now))
    rises = [
        size * (likely - one_lower) + other * (apart - likely)
        for other, one_lower, likely, apart in zip(  # noqa: B905 (slower)
            sizes, with_it, now, without[1:]
        )
    ]
    return [*accumulate(rises, initial=cost)]
