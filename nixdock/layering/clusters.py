"""Clusters: sets of paths that share a layer, with the figures that determine their cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from nixdock.layering.change_model import LAYER_OVERHEAD

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.nix.store_path import StorePath

__all__ = [
    "Cluster",
    "cluster_of",
    "clusters_of",
    "joint_clusters",
    "layer_clusters",
    "paths_of",
    "union_of",
]


class Cluster(Struct, frozen=True, eq=False):
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
    return joint_clusters(model, [(i,) for i in _by_name(model, paths)])


def layer_clusters(model: ChangeModel, layers: Iterable[Iterable[StorePath]]) -> list[Cluster]:
    """Return a cluster for each layer, with the members in the order of their names."""
    return joint_clusters(model, [tuple(_by_name(model, layer)) for layer in layers])


def _by_name(model: ChangeModel, paths: Iterable[StorePath]) -> list[int]:
    """Return the positions of paths in the model's `reach`, in the order of their names."""
    index, ranks = model.reach.index, model.reach.ranks
    return sorted((index[path] for path in paths), key=ranks.__getitem__)


def cluster_of(model: ChangeModel, members: Iterable[int]) -> Cluster:
    """Return the cluster of `members`, which are positions in the model's `reach`."""
    (cluster,) = joint_clusters(model, [tuple(members)])
    return cluster


def joint_clusters(model: ChangeModel, groups: Sequence[tuple[int, ...]]) -> list[Cluster]:
    """Return a cluster for each group of positions in the model's `reach`."""
    return [
        Cluster(group, sum(model.sizes[i] for i in group), cone, model.probability(cone))
        for group, cone in zip(groups, model.reach.cones(groups), strict=True)
    ]


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
    order, ranks = model.reach.order, model.reach.ranks
    return tuple(order[i] for i in sorted(cluster.members, key=ranks.__getitem__))
