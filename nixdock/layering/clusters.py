"""Clusters: sets of paths that share a layer, with the figures that determine their cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nixdock.layering.change_model import LAYER_OVERHEAD
from nixdock.layering.reach import name_then_path

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.nix.store_path import StorePath

__all__ = ["Cluster", "cluster_of", "clusters_of", "paths_of", "union_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """Paths that share a layer.

    `members` are their positions in the model's `reach`, `size` is the sum of their sizes, `cone`
    the union of their cones, and `probability` how likely an update changes the cone.
    """

    members: tuple[int, ...]
    size: int
    cone: int
    probability: float

    @property
    def cost(self) -> float:
        """The bytes that an update is expected to transfer for this layer."""
        return (self.size + LAYER_OVERHEAD) * self.probability


def clusters_of(model: ChangeModel, paths: Iterable[StorePath]) -> list[Cluster]:
    """Return a cluster for each path, in the order of their names."""
    index = model.reach.index
    return [cluster_of(model, (index[path],)) for path in sorted(paths, key=name_then_path)]


def cluster_of(model: ChangeModel, members: Iterable[int]) -> Cluster:
    """Return the cluster of `members`, which are positions in the model's `reach`."""
    reach = model.reach
    numbers = tuple(members)
    cone = 0
    for i in numbers:
        cone |= reach.down[i]
    size = sum(model.sizes[i] for i in numbers)
    return Cluster(numbers, size, cone, model.probability(cone))


def union_of(model: ChangeModel, clusters: Iterable[Cluster]) -> Cluster:
    """Return one cluster with all members of `clusters`."""
    members: list[int] = []
    size = cone = 0
    for cluster in clusters:
        members += cluster.members
        size += cluster.size
        cone |= cluster.cone
    return Cluster(tuple(members), size, cone, model.probability(cone))


def paths_of(model: ChangeModel, cluster: Cluster) -> tuple[StorePath, ...]:
    """Return the members by name, so that a layer's bytes depend only on its set of paths."""
    order = model.reach.order
    return tuple(sorted((order[i] for i in cluster.members), key=name_then_path))
