"""Improve a partition by moving single pieces to the cluster where they cost least.

Merging never undoes its early steps, which it took while clusters were small; refinement does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import or_
from typing import TYPE_CHECKING, Final

from nixdock.layering.change_model import LAYER_OVERHEAD
from nixdock.layering.clusters import Cluster, union_of

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel

__all__ = ["LEAST_SAVED", "MOST_MOVES", "refine"]

MOST_MOVES: Final = 200_000
"""How many moves are considered in total, to bound the time."""

LEAST_SAVED: Final = 1e-6
"""The share of its cluster's cost that a move must save, so that rounding errors move nothing."""


def refine(
    model: ChangeModel,
    pieces: Sequence[Cluster],
    clusters: Sequence[Cluster],
    budget: int,
    least_saved: float = LEAST_SAVED,
) -> list[Cluster]:
    """Return at most `budget` clusters that cost no more than `clusters`, by moving `pieces`.

    `clusters` must consist of whole pieces. A move must save more than the share `least_saved` of
    the cost of the cluster that the piece leaves.
    """
    search = _Search(model, pieces, clusters, budget, least_saved)
    search.run()
    return search.clusters()


class _Search:
    """A local search.

    `groups[n]` are the pieces of cluster n, and `totals[n]` has its size, cone and probability (not
    its members). Every move updates both. A group that has become empty keeps its number and is
    never used again; a new cluster gets the next number. `moves_left` counts down the moves that
    may still be considered. Every move lowers the total cost, so the search ends.
    """

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
        self.moves_left = MOST_MOVES
        cluster_of = {i: n for n, cluster in enumerate(clusters) for i in cluster.members}
        self.groups: list[list[Cluster]] = [[] for _ in clusters]
        for piece in pieces:
            self.groups[cluster_of[piece.members[0]]].append(piece)
        self.totals = list(clusters)

    def clusters(self) -> list[Cluster]:
        return [union_of(self.model, group) for group in self.groups if group]

    def run(self) -> None:
        """Go through all clusters again and again, until a whole round moves nothing."""
        moved = True
        while moved and self.moves_left > 0:
            moved = False
            for number in range(len(self.groups)):
                moved = self._relieve(number) or moved

    def _relieve(self, number: int) -> bool:
        """Move pieces out of a cluster; return whether any was moved.

        `other_cones` always belongs to the current group. After a move, the next piece has taken
        the position `at`.
        """
        moved = False
        at = 0
        other_cones = _other_cones(self.groups[number])
        while at < len(self.groups[number]) and self.moves_left > 0:
            if self._move(number, at, other_cones[at]):
                other_cones = _other_cones(self.groups[number])
                moved = True
            else:
                at += 1
        return moved

    def _move(self, number: int, at: int, rest_cone: int) -> bool:
        """Move a piece to where it costs least, if that saves enough; return whether it did.

        `rest_cone` is the cone of the other pieces of its group.
        """
        group, total = self.groups[number], self.totals[number]
        piece = group[at]
        rest = Cluster((), total.size - piece.size, rest_cone, self.model.probability(rest_cone))
        # Without its last piece, the cluster is no layer and costs nothing.
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
        before = self.totals[target]
        cone = before.cone | piece.cone
        probability = self.model.probability(cone)
        self.totals[target] = Cluster((), before.size + piece.size, cone, probability)
        return True

    def _cheapest(self, number: int, piece: Cluster, limit: float) -> int | None:
        """Return the other cluster to which `piece` adds least cost, if that is below `limit`.

        `len(groups)` stands for a new cluster, which is possible while there are fewer than
        `budget`. `limit` always is the least cost known so far. The costly probability of a union
        is needed only if a lower bound is below `limit`: the union is at least as likely to change
        as the likelier of the two.
        """
        cheapest = None
        probability = self.model.probability
        cone, likely = piece.cone, piece.probability
        size = piece.size + LAYER_OVERHEAD
        self.moves_left -= len(self.groups)
        for n, total in enumerate(self.totals):
            if n == number or not self.groups[n]:
                continue
            cost = (total.size + LAYER_OVERHEAD) * total.probability
            bound = (total.size + size) * max(likely, total.probability) - cost
            if bound < limit:
                added = (total.size + size) * probability(total.cone | cone) - cost
                if added < limit:
                    cheapest, limit = n, added
        if len(self.groups[number]) > 1 and piece.cost < limit:
            used = sum(1 for group in self.groups if group)
            if used < self.budget:
                return len(self.groups)
        return cheapest


def _other_cones(group: Sequence[Cluster]) -> list[int]:
    """Return, for each piece of a group, the union of the cones of all other pieces.

    It is the union of those before it, `before[i]`, and those after it, `after[i + 1]`.
    """
    cones = [piece.cone for piece in group]
    before = [0, *accumulate(cones, or_)]
    after = [0, *accumulate(reversed(cones), or_)][::-1]
    return [lower | upper for lower, upper in zip(before[:-1], after[1:], strict=True)]
