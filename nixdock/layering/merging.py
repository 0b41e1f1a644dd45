"""Greedy merging of clusters: always the pair whose merger raises the expected cost least.

Thousands of clusters have too many pairs. Of so many, only neighbours are merged at first: those
that follow each other when clusters are sorted by how likely they change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from nixdock.layering.change_model import LAYER_OVERHEAD
from nixdock.layering.clusters import Cluster, union_of

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel

__all__ = ["Merger", "merge", "merge_neighbours", "mergers"]

_DEAD: Final = -1
# The pairs of so many clusters are all looked at, if that is cheap; else a bound rules out most.
_FEW: Final = 500

_Entry: TypeAlias = tuple[float, bool, int, int]
# The size, probability, cost and price of a cluster.
_Figures: TypeAlias = tuple[int, float, float, float]


class Merger(Struct, frozen=True):
    """The merger of the clusters with the numbers `first` and `second`, which costs `rise` more."""

    rise: float
    first: int
    second: int
    cluster: Cluster


def merge(model: ChangeModel, clusters: Sequence[Cluster], budget: int) -> list[Cluster]:
    """Merge `clusters` until there are at most `budget` and no further merger saves anything."""
    alive: dict[int, Cluster] = dict(enumerate(clusters))
    for number, merger in enumerate(mergers(model, clusters), len(clusters)):
        if len(alive) <= budget and merger.rise >= 0:
            break
        del alive[merger.first], alive[merger.second]
        alive[number] = merger.cluster
    return list(alive.values())


def mergers(
    model: ChangeModel, clusters: Sequence[Cluster], prices: Sequence[float] = ()
) -> Iterator[Merger]:
    """Yield the cheapest merger again and again, until there is one cluster.

    `clusters` are numbered from 0; each merger adds a cluster with the next number. The first of
    them have `prices`, which their first merger costs besides what it raises.

    Each cluster has a row of entries (rise, exact, first, second), one for its pair with each
    cluster that was there before it, and the heap has the least entry of each row. A rise that is
    not exact is a lower bound: its exact value is added to the heap when nothing in there is less.
    So when an exact entry is the least, no pair is cheaper; of equal entries, a bound comes first,
    because it may stand for a pair that is as cheap and has lower numbers. Of few clusters, in a
    model of one class, all entries are exact.
    """
    are_exact = len(clusters) <= _FEW and model.has_one_class
    alive: dict[int, Cluster] = {}
    figures: dict[int, _Figures] = {}
    rows: dict[int, list[_Entry]] = {}
    heap: list[_Entry] = []

    def next_of_row(number: int) -> None:
        row = rows[number]
        while row:
            entry = row.pop()
            if entry[2] in alive:
                heappush(heap, entry)
                return

    def add(number: int, cluster: Cluster, price: float) -> None:
        own = (cluster.size, cluster.probability, cluster.cost, price)
        if are_exact:
            unions = model.union_probabilities(cluster.cone, [alive[i].cone for i in figures])
            rows[number] = _rises(figures, number, own, unions)
        else:
            rows[number] = _bounds(figures, number, own)
        # The least last. Most entries are taken, so that a heap would be slower.
        rows[number].sort(reverse=True)
        alive[number], figures[number] = cluster, own
        next_of_row(number)

    number = -1
    for number, cluster in enumerate(clusters):
        add(number, cluster, prices[number] if number < len(prices) else 0.0)
    probability = model.probability
    while heap:
        rise, exact, first, second = heappop(heap)
        right = alive.get(second)
        if right is None:
            continue
        if are_exact or not exact:
            next_of_row(second)
        left = alive.get(first)
        if left is None:
            continue
        if not exact:
            # The costly probability is needed for few pairs: the bound rules out the others.
            rise = _rise(left, right, probability(left.cone | right.cone))
            rise += figures[first][3] + figures[second][3]
            heappush(heap, (rise, True, first, second))
            continue
        merged = union_of(model, (left, right))
        yield Merger(rise, first, second, merged)
        for gone in (first, second):
            del alive[gone], figures[gone], rows[gone]
        number += 1
        add(number, merged, 0.0)


def _bounds(figures: Mapping[int, _Figures], number: int, own: _Figures) -> list[_Entry]:
    """Return entries with lower bounds for the mergers of a cluster with all in `figures`.

    The union of two cones is at least as likely to change as the likelier of the two.
    """
    own_size, likely, own_cost, own_price = own
    added = own_size + LAYER_OVERHEAD
    # Written out, because there are many: what `_rise` returns for the likelier of the two.
    return [
        (
            (size + added) * (probability if probability > likely else likely)  # noqa: FURB136 (faster)
            - cost
            - own_cost
            + (price + own_price),
            False,
            i,
            number,
        )
        for i, (size, probability, cost, price) in figures.items()
    ]


def _rises(
    figures: Mapping[int, _Figures], number: int, own: _Figures, unions: Sequence[float]
) -> list[_Entry]:
    """Return entries for the mergers of a cluster with all in `figures`.

    `unions` are the probabilities of the unions.
    """
    own_size, _, own_cost, own_price = own
    added = own_size + LAYER_OVERHEAD
    # Written out, because there are many: what `_rise` returns.
    return [
        ((size + added) * union - cost - own_cost + (price + own_price), True, i, number)
        for (i, (size, _, cost, price)), union in zip(figures.items(), unions, strict=True)
    ]


def _rise(left: Cluster, right: Cluster, probability: float) -> float:
    """Return how much more the union costs than both clusters, if it has that probability."""
    cost = (left.size + right.size + LAYER_OVERHEAD) * probability
    return cost - left.cost - right.cost


def merge_neighbours(model: ChangeModel, pieces: Sequence[Cluster], count: int) -> list[Cluster]:
    """Merge neighbours, in the order of how likely they change, until at most `count` are left.

    `line` holds the clusters in that order, and the lists beside it their figures. A merger puts
    the union in the place of the first of the two and leaves the place of the second dead; `before`
    and `after` link the places that are alive. Every change of a place counts up its stamp, and a
    dead place has the stamp `_DEAD`. A heap entry holds the stamps of its two places, so it is
    valid if these are current: then both places are alive and unchanged, and therefore still
    neighbours. Its last item is the probability of the union.
    """
    line = sorted(pieces, key=lambda piece: (piece.probability, piece.cone.bit_count()))
    if len(line) <= count:
        return line
    members = [[*piece.members] for piece in line]
    sizes = [piece.size for piece in line]
    cones = [piece.cone for piece in line]
    probabilities = [piece.probability for piece in line]
    costs = [piece.cost for piece in line]
    before, after = [*range(-1, len(line) - 1)], [*range(1, len(line) + 1)]
    stamps = [0] * len(line)
    probability_of = model.probability

    def entry(first: int, second: int) -> tuple[float, int, int, int, int, float]:
        probability = probability_of(cones[first] | cones[second])
        # Written out, because there are many: what `_rise` returns.
        cost = (sizes[first] + sizes[second] + LAYER_OVERHEAD) * probability
        rise = cost - costs[first] - costs[second]
        return rise, first, second, stamps[first], stamps[second], probability

    heap = [entry(i, i + 1) for i in range(len(line) - 1)]
    heapify(heap)
    remaining = len(line)
    while remaining > count:
        _, first, second, *seen, probability = heappop(heap)
        if seen != [stamps[first], stamps[second]]:
            continue
        members[first] += members[second]
        sizes[first] += sizes[second]
        cones[first] |= cones[second]
        probabilities[first] = probability
        costs[first] = (sizes[first] + LAYER_OVERHEAD) * probability
        stamps[first] += 1
        stamps[second] = _DEAD
        after[first] = after[second]
        if after[first] < len(line):
            before[after[first]] = first
            heappush(heap, entry(first, after[first]))
        if before[first] >= 0:
            heappush(heap, entry(before[first], first))
        remaining -= 1
    return [
        Cluster(tuple(members[i]), sizes[i], cones[i], probabilities[i]) if stamps[i] else line[i]
        for i in range(len(line))
        if stamps[i] != _DEAD
    ]
