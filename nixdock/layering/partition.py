"""Partition paths into a given number of layers at the least expected cost.

Every path starts as a cluster of its own; clusters are merged until there are few enough and no
merger saves anything; then single paths move to where they are cheaper.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from nixdock.layering.clusters import Cluster, clusters_of
from nixdock.layering.merging import bucketed, merge
from nixdock.layering.refinement import LEAST_SAVED, MOST_MOVES, refined

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
    """Divide `paths` among at most `budget` clusters; `least_saved` is for the refinement."""
    pieces = clusters_of(model, paths)
    coarse = bucketed(model, pieces, max(_MOST_PAIRED, budget))
    merged = merge(model, coarse, budget)
    fine = len(pieces) <= _MOST_MOVED and len(pieces) * len(merged) <= MOST_MOVES
    return refined(model, pieces if fine else coarse, merged, budget, least_saved)
