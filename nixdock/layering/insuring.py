"""Insurance against a memory that fails: layers that a plan without memory has, too.

A client may lack the previous image: the memory was lost for a build, or it is that of another
image than the client's. Then a layer serves the client only if the plan of another build has it as
well, and without a memory, all builds make the same layers, those of a *fresh* plan. So a layer
that no fresh plan has is a risk: all its bytes may be transferred although nothing has changed.

The risk has a price. The paths of a group, which share a layer in the fresh plan, share one here as
well, unless updates are expected to transfer so much less without it that this is worth the risk.
If that leaves layers free, large paths get them, as in any partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import combinations, count
from math import fsum
from typing import TYPE_CHECKING, Final

from nixdock.layering.clusters import Cluster, joint_clusters, union_of
from nixdock.layering.partition import set_apart

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel

__all__ = ["insure"]

_ROUNDS: Final = 3
_LEAST_SAVED: Final = 1e-6
"""The share of a cost that must be saved, so that rounding errors change nothing."""

Pair = tuple[float, int, int]
"""How much more the union of two clusters costs than both, and the numbers of the two."""


def insure(
    model: ChangeModel,
    clusters: Sequence[Cluster],
    groups: Sequence[Cluster],
    budget: int,
    risk: float,
) -> list[Cluster]:
    """Return at most `budget` clusters with the members of `clusters`, and most `groups` whole.

    `groups` are disjoint clusters of the fresh plan with members of `clusters`. `risk` is the
    probability that a client has nothing but layers of fresh plans.
    """
    search = _Search(model, clusters, groups, budget, risk)
    for _ in range(_ROUNDS):
        if not sum(search.restore(group) for group in [*search.split]):
            break
    left = budget - len(search.whole)
    return [*search.whole, *set_apart(model, [*search.free.values()], left)]


class _Search:
    """A greedy search: with each group that is restored, the cost falls.

    `whole` are the clusters that are groups, and `split` the other groups, the largest first.
    `free` are the other clusters by number, and `pairs` all pairs of these, the cheapest first.
    `cell_of` has the cluster of the members that share both a cluster and a group with a member:
    whatever is split, cells stay whole.
    """

    def __init__(
        self,
        model: ChangeModel,
        clusters: Sequence[Cluster],
        groups: Sequence[Cluster],
        budget: int,
        risk: float,
    ) -> None:
        self.model = model
        self.budget = budget
        self.risk = risk
        group_sets = {frozenset(group.members) for group in groups}
        self.whole = [c for c in clusters if frozenset(c.members) in group_sets]
        kept = {frozenset(cluster.members) for cluster in self.whole}
        split = [group for group in groups if frozenset(group.members) not in kept]
        self.split = sorted(split, key=lambda group: -group.size)
        self.numbers = count()
        self.cell_of = _cells(model, clusters, groups)
        free = [c for c in clusters if frozenset(c.members) not in group_sets]
        self.free = {next(self.numbers): cluster for cluster in free}
        self.pairs = sorted(
            (self._rise(left, right), first, second)
            for (first, left), (second, right) in combinations(self.free.items(), 2)
        )

    def restore(self, group: Cluster) -> bool:
        """Give `group` a layer of its own if that lowers the cost; return whether it does."""
        members = frozenset(group.members)
        left = {n: c for n, c in self.free.items() if members.isdisjoint(c.members)}
        parts = []
        for number, cluster in self.free.items():
            if number not in left:
                rest = {self.cell_of[m]: None for m in cluster.members if m not in members}
                parts += [union_of(self.model, rest)] if rest else []
        new = self._merged(left, parts, self.budget - len(self.whole) - 1)
        if new is None:
            return False
        before = fsum(self._cost(c) for n, c in self.free.items() if n not in left)
        after = fsum(self._cost(cluster) for cluster in new.values()) + group.cost
        if after >= before * (1 - _LEAST_SAVED):
            return False
        self.free = left
        self.pairs = [p for p in self.pairs if p[1] in left and p[2] in left]
        for number, cluster in new.items():
            self.pairs += self._pairs_with(left, number, cluster)
            left[number] = cluster
        self.pairs.sort()
        self.whole.append(group)
        self.split.remove(group)
        return True

    def _merged(
        self, left: dict[int, Cluster], parts: Sequence[Cluster], room: int
    ) -> dict[int, Cluster] | None:
        """Merge `left` and `parts` until there are at most `room`; return the new clusters.

        Remove the clusters that are merged from `left`. Return None if there is no room.
        """
        if room < min(1, len(left) + len(parts)):
            return None
        alive = {**left}
        new: dict[int, Cluster] = {}
        heap: list[Pair] = []

        def add(cluster: Cluster) -> None:
            number = next(self.numbers)
            for pair in self._pairs_with(alive, number, cluster):
                heappush(heap, pair)
            alive[number] = new[number] = cluster

        for part in parts:
            add(part)
        old = iter(self.pairs)
        cheapest_old = next(old, None)
        while len(alive) > room:
            while heap and not (heap[0][1] in alive and heap[0][2] in alive):
                heappop(heap)
            while cheapest_old and not (cheapest_old[1] in alive and cheapest_old[2] in alive):
                cheapest_old = next(old, None)
            _, *merged = min([*heap[:1], *([cheapest_old] if cheapest_old else [])])
            for number in merged:
                left.pop(number, None)
                new.pop(number, None)
            add(union_of(self.model, [alive.pop(number) for number in merged]))
        return new

    def _pairs_with(
        self, clusters: Mapping[int, Cluster], number: int, cluster: Cluster
    ) -> list[Pair]:
        return [(self._rise(other, cluster), n, number) for n, other in clusters.items()]

    def _rise(self, left: Cluster, right: Cluster) -> float:
        probability = self.model.probability(left.cone | right.cone)
        union = Cluster((), left.size + right.size, 0, probability)
        return self._cost(union) - self._cost(left) - self._cost(right)

    def _cost(self, cluster: Cluster) -> float:
        """Return the cost of a cluster that no fresh plan has."""
        return cluster.cost + self.risk * cluster.size * (1.0 - cluster.probability)


def _cells(
    model: ChangeModel, clusters: Sequence[Cluster], groups: Sequence[Cluster]
) -> dict[int, Cluster]:
    group_of = {member: n for n, group in enumerate(groups) for member in group.members}
    cells: dict[tuple[int, int | None], list[int]] = {}
    for number, cluster in enumerate(clusters):
        for member in cluster.members:
            cells.setdefault((number, group_of.get(member)), []).append(member)
    found = joint_clusters(model, [tuple(cell) for cell in cells.values()])
    return {member: cell for cell in found for member in cell.members}
