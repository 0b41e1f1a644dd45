"""The partition of paths when only their sizes and references are known.

Large paths get layers of their own, because they cost most when they are transferred for the sake
of a neighbour. The threshold for this is on a coarse scale, so that it rarely differs between two
closures; another image with the same path then most likely has the same layer. The small paths at
the top of the image, which change with the app, share a layer. The other paths are merged into the
layers that are left.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from nixdock.layering.clusters import Cluster, clusters_of
from nixdock.layering.partition import partition

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.nix.store_path import StorePath

__all__ = ["large_size", "partition_fresh"]

_LARGE_SHARE: Final = 0.75
_LEAST_LARGE: Final = 1024.0
_LARGE_STEP: Final = 1.25
# Which small savings are found depends on details of the closure. The plan of the next image would
# find others, and the layers that differ for that would cost more than is saved.
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
        # Layers that the rest doesn't need keep the app apart from paths that only it refers to.
        clusters += partition(model, upper, left)
    return clusters


def large_size(sizes: Sequence[int], budget: int) -> float:
    """Return the size from which paths are large: at most three quarters of `budget` paths are."""
    ordered = sorted(sizes, reverse=True)
    most = int(_LARGE_SHARE * budget)
    threshold = _LEAST_LARGE
    while most < len(ordered) and ordered[most] >= threshold:
        threshold *= _LARGE_STEP
    return threshold
