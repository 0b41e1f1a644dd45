"""The order of layers, bottom to top: layers that are large and rarely change are at the bottom.

Docker's classic storage downloads every layer above the first changed one again, so a layer costs
its bytes whenever it or any layer below it changes. Layers are placed from the bottom up by Smith's
rule of scheduling: next come those that add the least probability of a change per byte. Paths that
layers below already depend on add nothing, so a layer brings others along, which depend on nothing
else. In the end, single layers move to where they cost least.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import fsum
from operator import or_
from typing import TYPE_CHECKING, Final

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
        least = min(
            cones,
            key=lambda cone: (
                model.weight(cone & ~below)
                / sum(c.size + LAYER_OVERHEAD for c in left if c.cone | cone == cone)
            ),
        )
        block = [cluster for cluster in left if cluster.cone | least == least]
        left = [cluster for cluster in left if cluster.cone | least != least]
        while block:
            ratios = [model.weight(c.cone & ~below) / (c.size + LAYER_OVERHEAD) for c in block]
            cluster = block.pop(ratios.index(min(ratios)))
            below |= cluster.cone
            placed.append(cluster)
    return placed


def _improved(model: ChangeModel, clusters: Sequence[Cluster], below: int) -> list[Cluster]:
    """Move single clusters to where they cost least, until nothing is saved any more."""
    order = [*clusters]
    below_place, likely = _cones_below_places(model, order, below)
    # Those that are where they cost least, as the others are now.
    settled: set[Cluster] = set()
    for _ in range(_ROUNDS):
        for cluster in [*order]:
            if cluster in settled:
                continue
            at = order.index(cluster)
            costs = _costs_of_places(model, order, at, below_place, likely)
            place = costs.index(min(costs))
            if costs[place] < costs[at] * (1 - _LEAST_SAVED):
                order.insert(place, order.pop(at))
                below_place, likely = _cones_below_places(model, order, below)
                settled.clear()
            settled.add(cluster)
    return order


def _cones_below_places(
    model: ChangeModel, order: Sequence[Cluster], below: int
) -> tuple[list[int], list[float]]:
    """Return the cone of all layers below each place, and below the top, and its probability."""
    cones = [*accumulate((c.cone for c in order), or_, initial=below)]
    return cones, model.probabilities(cones)


def _costs_of_places(
    model: ChangeModel,
    order: Sequence[Cluster],
    at: int,
    below_place: Sequence[int],
    likely: Sequence[float],
) -> list[float]:
    """Return the cost of all layers with the cluster `order[at]` at each place among the others.

    With one place further up, the cluster has one more layer below it, which no longer has the
    cluster below. `below_place` and `likely` are those of `order`: they hold for the layers up to
    the cluster's place without it, and from there on with it.
    """
    cluster = order[at]
    above = accumulate((c.cone for c in order[at + 1 :]), or_, initial=below_place[at])
    without = [*likely[:at], *model.probabilities([*above])]
    moved_down = [cone | cluster.cone for cone in below_place[:at]]
    with_it = [*model.probabilities(moved_down), *likely[at + 1 :]]
    sizes = [c.size + LAYER_OVERHEAD for c in order]
    size = sizes.pop(at)
    cost = size * with_it[0] + fsum(s * p for s, p in zip(sizes, with_it[1:], strict=True))
    rises = (
        size * (now - one_lower) + other * (apart - now)
        for other, one_lower, now, apart in zip(
            sizes, with_it[:-1], with_it[1:], without[1:], strict=True
        )
    )
    return [*accumulate(rises, initial=cost)]
