"""How much of an image is kept, moved, new or gone in an update."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from nixdock.view.model import Status

if TYPE_CHECKING:
    from nixdock.view.model import ImageView
    from nixdock.view.update import UpdateView

__all__ = ["path_counts", "status_runs", "status_sizes"]


def status_sizes(view: ImageView) -> Mapping[Status, int]:
    """Return the sizes of the layers with each status, in bytes; a blob counts once."""
    sizes: Counter[Status] = Counter()
    seen = set()
    for layer in view.layers:
        identity = layer.digest or layer.number
        if layer.status is not None and identity not in seen:
            seen.add(identity)
            sizes[layer.status] += layer.size or 0
    return sizes


def status_runs(view: ImageView) -> list[tuple[Status, int]]:
    """Return the layers that were compared, bottom to top, as runs of one status with their sizes.

    A run may be empty.
    """
    layers = [layer for layer in view.layers if layer.status is not None]
    return [
        (status, sum(layer.size or 0 for layer in run))
        for status, run in groupby(layers, key=lambda layer: layer.status or Status.KEPT)
    ]


def path_counts(update: UpdateView) -> dict[Status, int]:
    """Return how many store paths are new, gone, kept and moved."""
    statuses: dict[str, Status] = {}
    gone = (path for path in update.old.paths() if path.status is Status.GONE)
    for path in (*gone, *update.new.paths()):
        # A path in several layers is kept if one of them keeps it.
        if path.status is not None and statuses.get(path.path) is not Status.KEPT:
            statuses[path.path] = path.status
    counts = Counter(statuses.values())
    return {status: counts[status] for status in Status}
