"""The order of layers, bottom to top: layers that are large and rarely change are at the bottom.

Docker's classic storage downloads every layer above the first changed one again, so a layer costs
its bytes whenever it or any layer below it changes. Layers are chosen from the bottom up by Smith's
rule of scheduling: next comes the layer that adds the least probability of a change per byte. The
paths that layers below already depend on add nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nixdock.layering.change_model import LAYER_OVERHEAD

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.layering.clusters import Cluster

__all__ = ["layer_order"]


def layer_order(
    model: ChangeModel, clusters: Iterable[Cluster], top: int, below: int = 0
) -> list[Cluster]:
    """Return `clusters` bottom to top, those with members of `top` last.

    `below` is the union of the cones of the layers that are already placed below.
    """
    lower: list[Cluster] = []
    upper: list[Cluster] = []
    for cluster in clusters:
        at_top = any(top >> i & 1 for i in cluster.members)
        (upper if at_top else lower).append(cluster)
    placed: list[Cluster] = []
    for group in (lower, upper):
        left = list(group)
        while left:
            lightest = min(
                range(len(left)),
                key=lambda i: model.weight(left[i].cone & ~below) / (left[i].size + LAYER_OVERHEAD),
            )
            cluster = left.pop(lightest)
            below |= cluster.cone
            placed.append(cluster)
    return placed
