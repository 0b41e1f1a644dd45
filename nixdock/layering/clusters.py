"""Clusters: sets of paths that share a layer, with the figures that determine their cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from nixdock.layering.change_model import LAYER_OVERHEAD
from nixdock.layering.reach import name_then_path

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
    index = model.reach.index
    return joint_clusters(model, [(index[path],) for path in sorted(paths, key=name_then_path)])


def layer_clusters(model: ChangeModel, layers: Iterable[Iterable[StorePath]]) -> list[Cluster]:
    """Return a cluster for each layer, with the members in the order of their names."""
    index = model.reach.index
    return joint_clusters(
        model,
        [tuple(index[path] for path in sorted(layer, key=name_then_path)) for layer in layers],
    )


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
    order = model.reach.order
    return tuple(sorted((order[i] for i in cluster.members), key=name_then_path))
