"""Partition paths into a given number of layers at a low expected cost.

Every path starts as a cluster of its own. Clusters are merged until there are few enough and no
merger saves anything. Then single paths move to clusters where they cost less. If layers are left,
large paths get them: to share saves a layer's overhead at most, and costs many times that if a path
turns out to change without the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from nixdock.layering.clusters import Cluster, clusters_of, joint_clusters
from nixdock.layering.condensing import condense, pieces_to_pair
from nixdock.layering.merging import merge
from nixdock.layering.refinement import LEAST_SAVED, MOST_MOVES, refine

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.nix.store_path import StorePath

__all__ = ["partition", "set_apart"]

_MOST_MOVED: Final = 2000
_LARGE: Final = 1 << 20
"""The bytes from which a path shares no layer while layers are free."""


def partition(
    model: ChangeModel,
    paths: Iterable[StorePath],
    budget: int,
    least_saved: float = LEAST_SAVED,
    coarse: Sequence[Cluster] | None = None,
) -> list[Cluster]:
    """Divide `paths` among at most `budget` clusters; `least_saved` is that of `refine`.

    `coarse` are the paths condensed for as many layers, if that has been done.
    """
    paths = list(paths)
    if coarse is None:
        coarse = condense(model, paths, pieces_to_pair(budget))
    merged = merge(model, coarse, budget)
    # The pieces that move are single paths, unless there are too many.
    fine = len(paths) <= _MOST_MOVED and len(paths) * len(merged) <= MOST_MOVES
    pieces = clusters_of(model, paths) if fine else coarse
    refined = refine(model, pieces, merged, budget, least_saved)
    return set_apart(model, refined, budget)


def set_apart(model: ChangeModel, clusters: Sequence[Cluster], budget: int) -> list[Cluster]:
    """Return `clusters`, with layers that they leave free for the largest of their large paths."""
    home = {i: n for n, cluster in enumerate(clusters) for i in cluster.members}
    members = [[*cluster.members] for cluster in clusters]
    ranks, sizes = model.reach.ranks, model.sizes
    large = [i for i in home if sizes[i] >= _LARGE]
    alone: list[tuple[int, ...]] = []
    for i in sorted(large, key=lambda i: (-sizes[i], ranks[i])):
        if len(clusters) + len(alone) >= budget:
            break
        if len(members[home[i]]) > 1:
            members[home[i]].remove(i)
            alone.append((i,))
    if not alone:
        return [*clusters]
    return joint_clusters(model, [*map(tuple, members), *alone])
