"""The order of layers, bottom to top: what rarely changes for its size at the bottom.

Docker's classic storage downloads every layer above the first changed one again, so a layer costs
its bytes whenever anything below it changes. What to put next is Smith's rule of scheduling: the
layer that adds least chance of a change for its size. What refers to the same paths shares that
chance, so it counts once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nixdock.layering.change_model import LAYER_OVERHEAD

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.layering.clusters import Cluster

__all__ = ["stacked"]


def stacked(
    model: ChangeModel, clusters: Iterable[Cluster], top: int, below: int = 0
) -> list[Cluster]:
    """Return `clusters` bottom to top, those with members of `top` last.

    `below` is what the layers refer to that are below already.
    """
    lower: list[Cluster] = []
    upper: list[Cluster] = []
    for cluster in clusters:
        held = any(top >> i & 1 for i in cluster.members)
        (upper if held else lower).append(cluster)
    placed: list[Cluster] = []
    for group in (lower, upper):
        left = list(group)
        while left:
            nexts = min(
                range(len(left)),
                key=lambda i: model.weight(left[i].cone & ~below) / (left[i].size + LAYER_OVERHEAD),
            )
            cluster = left.pop(nexts)
            below |= cluster.cone
            placed.append(cluster)
    return placed
