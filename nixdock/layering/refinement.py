"""Improve a partition by moving single pieces to the cluster where they cost least.

Merging never takes back what it did early, when clusters were small; this does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import or_
from typing import TYPE_CHECKING, Final

from nixdock.layering.change_model import LAYER_OVERHEAD
from nixdock.layering.clusters import Cluster, joined

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel

__all__ = ["LEAST_SAVED", "MOST_MOVES", "refined"]

MOST_MOVES: Final = 200_000
"""How many moves are looked at in all, so that time is bounded."""

LEAST_SAVED: Final = 1e-6
"""The share of its cluster's cost that a move has to save, so that rounding errors move nothing."""


def refined(
    model: ChangeModel,
    pieces: Sequence[Cluster],
    clusters: Sequence[Cluster],
    budget: int,
    least_saved: float = LEAST_SAVED,
) -> list[Cluster]:
    """Return `clusters`, which are made of `pieces`, after moving pieces while that saves.

    A move has to save `least_saved` of what the cluster costs that the piece is in.
    """
    search = _Search(model, pieces, clusters, budget, least_saved)
    search.run()
    return search.clusters()


class _Search:
    def __init__(
        self,
        model: ChangeModel,
        pieces: Sequence[Cluster],
        clusters: Sequence[Cluster],
        budget: int,
        least_saved: float,
    ) -> None:
        self.model = model
        self.least_saved = least_saved
        self.budget = budget
        self.left = MOST_MOVES
        cluster_of = {i: n for n, cluster in enumerate(clusters) for i in cluster.members}
        self.groups: list[list[Cluster]] = [[] for _ in clusters]
        for piece in pieces:
            self.groups[cluster_of[piece.members[0]]].append(piece)
        self.totals = list(clusters)

    def clusters(self) -> list[Cluster]:
        return [joined(self.model, group) for group in self.groups if group]

    def run(self) -> None:
        moved = True
        while moved and self.left > 0:
            moved = False
            for number in range(len(self.groups)):
                moved = self._relieve(number) or moved

    def _relieve(self, number: int) -> bool:
        """Move pieces out of a cluster; return whether any was."""
        moved = False
        at = 0
        rests = _rests(self.groups[number])
        while at < len(self.groups[number]) and self.left > 0:
            if self._move(number, at, rests[at]):
                rests = _rests(self.groups[number])
                moved = True
            else:
                at += 1
        return moved

    def _move(self, number: int, at: int, rest_cone: int) -> bool:
        group, total = self.groups[number], self.totals[number]
        piece = group[at]
        rest = Cluster((), total.size - piece.size, rest_cone, self.model.probability(rest_cone))
        saved = total.cost - (rest.cost if len(group) > 1 else 0.0)
        target = self._cheapest(number, piece, saved - self.least_saved * total.cost)
        if target is None:
            return False
        if target == len(self.groups):
            self.groups.append([])
            self.totals.append(Cluster((), 0, 0, 0.0))
        del group[at]
        self.totals[number] = rest
        self.groups[target].append(piece)
        there = self.totals[target]
        cone = there.cone | piece.cone
        probability = self.model.probability(cone)
        self.totals[target] = Cluster((), there.size + piece.size, cone, probability)
        return True

    def _cheapest(self, number: int, piece: Cluster, limit: float) -> int | None:
        """Return the cluster to which `piece` adds least, if that is less than `limit`."""
        found = None
        probability = self.model.probability
        cone, likely = piece.cone, piece.probability
        size = piece.size + LAYER_OVERHEAD
        self.left -= len(self.groups)
        for n, there in enumerate(self.totals):
            if n == number or not self.groups[n]:
                continue
            cost = (there.size + LAYER_OVERHEAD) * there.probability
            least = (there.size + size) * max(likely, there.probability) - cost
            if least < limit:
                added = (there.size + size) * probability(there.cone | cone) - cost
                if added < limit:
                    found, limit = n, added
        if len(self.groups[number]) > 1 and piece.cost < limit:
            used = [group for group in self.groups if group]
            if len(used) < self.budget:
                return len(self.groups)
        return found


def _rests(group: Sequence[Cluster]) -> list[int]:
    """Return, for each piece of a group, what the others refer to."""
    cones = [piece.cone for piece in group]
    below = [0, *accumulate(cones, or_)]
    above = [0, *accumulate(reversed(cones), or_)][::-1]
    return [one | other for one, other in zip(below[:-1], above[1:], strict=True)]
