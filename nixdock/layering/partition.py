"""Partition paths into a given number of layers at a low expected cost.

Every path starts as a cluster of its own. Clusters are merged until there are few enough and no
merger saves anything. Then single paths move to clusters where they cost less.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from nixdock.layering.clusters import Cluster, clusters_of
from nixdock.layering.merging import merge, merge_neighbours
from nixdock.layering.refinement import LEAST_SAVED, MOST_MOVES, refine

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.nix.store_path import StorePath

__all__ = ["partition"]

_MOST_PAIRED: Final = 300
_MOST_MOVED: Final = 2000


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
    return refine(model, pieces if fine else coarse, merged, budget, least_saved)
