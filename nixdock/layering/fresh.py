"""The partition of paths of which nothing is known but their sizes and references.

Large paths are alone, as they hurt most when a neighbour changes. What is large is a coarse
threshold, which hardly ever moves from one closure to the next, and so another image that has the
same path most likely has the same layer. The small paths at the top of the image, which change
whenever the app does, share a layer; the others are merged into those that are left.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from nixdock.layering.clusters import Cluster, clusters_of
from nixdock.layering.partition import partition

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.nix.store_path import StorePath

__all__ = ["partition_fresh"]

_LARGE_SHARE: Final = 0.75
_LEAST_LARGE: Final = 1024.0
_LARGE_STEP: Final = 1.25
# Without a memory of the last plan, small improvements are not worth that the next plan has others.
_LEAST_SAVED: Final = 0.1


def partition_fresh(
    model: ChangeModel, paths: Sequence[StorePath], budget: int, top: Collection[StorePath]
) -> list[Cluster]:
    """Divide `paths` among at most `budget` clusters; `top` are those that change with the app."""
    if len(paths) <= budget:
        return clusters_of(model, paths)
    closure = model.reach.closure
    threshold = large_size([closure[path].nar_size for path in paths], budget)
    large = [path for path in paths if closure[path].nar_size >= threshold]
    upper = [p for p in paths if p in top and closure[p].nar_size < threshold]
    rest = [p for p in paths if p not in top and closure[p].nar_size < threshold]
    left = budget - len(large)
    if upper and rest and left < 2:
        upper, rest = [], upper + rest
    clusters = clusters_of(model, large)
    if rest:
        merged = partition(model, rest, left - (1 if upper else 0), _LEAST_SAVED)
        clusters += merged
        left -= len(merged)
    if upper:
        # Layers that nobody else needs keep the app apart from what it alone refers to.
        clusters += partition(model, upper, left)
    return clusters


def large_size(sizes: Sequence[int], budget: int) -> float:
    """Return the least size of a coarse scale that at most three quarters of the layers have."""
    ordered = sorted(sizes, reverse=True)
    most = int(_LARGE_SHARE * budget)
    threshold = _LEAST_LARGE
    while most < len(ordered) and ordered[most] >= threshold:
        threshold *= _LARGE_STEP
    return threshold
