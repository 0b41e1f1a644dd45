"""Partition paths into a given number of layers at a low expected cost.

Every path starts as a cluster of its own. Clusters are merged until there are few enough and no
merger saves anything. Then single paths move to clusters where they cost less. If layers are left,
large paths get them: to share saves a layer's overhead at most, and costs many times that if a path
turns out to change without the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from nixdock.layering.clusters import Cluster, clusters_of, union_of
from nixdock.layering.merging import merge, merge_neighbours
from nixdock.layering.refinement import LEAST_SAVED, MOST_MOVES, refine

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.nix.store_path import StorePath

__all__ = ["partition", "set_apart"]

_MOST_PAIRED: Final = 300
_MOST_MOVED: Final = 2000
_LARGE: Final = 1 << 20
"""The bytes from which a path shares no layer while layers are free."""


def partition(
    model: ChangeModel,
    paths: Iterable[StorePath],
    budget: int,
    least_saved: float = LEAST_SAVED,
) -> list[Cluster]:
    """Divide `paths` among at most `budget` clusters; `least_saved` is that of `refine`."""
    pieces = clusters_of(model, paths)
    coarse = merge_neighbours(model, pieces, max(_MOST_PAIRED, budget))
    merged = merge(model, coarse, budget)
    # The pieces that move are single paths, unless there are too many.
    fine = len(pieces) <= _MOST_MOVED and len(pieces) * len(merged) <= MOST_MOVES
    refined = refine(model, pieces if fine else coarse, merged, budget, least_saved)
    return set_apart(model, pieces, refined, budget)


def set_apart(
    model: ChangeModel, pieces: Sequence[Cluster], clusters: Sequence[Cluster], budget: int
) -> list[Cluster]:
    """Return `clusters`, with layers that they leave free for the largest of the large `pieces`."""
    home = {i: n for n, cluster in enumerate(clusters) for i in cluster.members}
    members = {n: [*cluster.members] for n, cluster in enumerate(clusters)}
    alone: list[Cluster] = []
    for piece in sorted(pieces, key=lambda piece: -piece.size):
        if piece.size < _LARGE or len(clusters) + len(alone) >= budget:
            break
        (i,) = piece.members
        if len(members[home[i]]) > 1:
            members[home[i]].remove(i)
            alone.append(piece)
    if not alone:
        return [*clusters]
    piece_of = {piece.members[0]: piece for piece in pieces}
    rest = [union_of(model, (piece_of[i] for i in left)) for left in members.values()]
    return [*rest, *alone]
