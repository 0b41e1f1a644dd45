"""Plans of several images together, so that they share layers in a registry and on machines.

Planned one by one, images that hold the same paths put them beside different neighbours, and then
share nothing. Here, paths that exactly the same images hold form a group. The groups that save most
by being shared become layers, which every image of the group has byte for byte; what each image has
left of its layers is for its other paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from nixdock.errors import ClosureError, PlanError
from nixdock.layering.change_model import LAYER_OVERHEAD, ChangeModel, prior_model
from nixdock.layering.clusters import Cluster, clusters_of, paths_of
from nixdock.layering.fresh import partition_fresh
from nixdock.layering.merging import Merger, bucketed, mergers
from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.order import stacked
from nixdock.layering.plan import LayerPlan
from nixdock.layering.plan_history import PlanHistory
from nixdock.layering.reach import Reach, name_then_path
from nixdock.layering.top import top_depths, top_paths
from nixdock.nix.closure import Closure

if TYPE_CHECKING:
    from nixdock.nix.closure import PathInfo
    from nixdock.nix.store_path import StorePath

__all__ = ["plan_family"]

_SHARED_SHARE: Final = 0.65
_MOST_PAIRED: Final = 300


def plan_family(
    closures: Mapping[str, Closure],
    budgets: Mapping[str, int],
    options: LayeringOptions = DEFAULT_OPTIONS,
    /,
) -> dict[str, LayerPlan]:
    """Plan images by name, each of at most its budget of layers, to share what they can.

    Of the options, just `volatile` counts. Raise PlanError if an image has no budget of at least
    one layer, ClosureError if closures contradict each other.
    """
    names = sorted(closures)
    for name in names:
        if budgets.get(name, 0) < 1:
            raise PlanError(f"{name}: an image of a family needs a budget of a layer at least")
    reach = Reach(_union([closures[name] for name in names]))
    tops: dict[str, frozenset[StorePath]] = {}
    depths: dict[StorePath, int] = {}
    for name in names:
        own = Reach(closures[name])
        volatile = [path for path in options.volatile if path in closures[name]]
        found = top_depths(own, volatile)
        tops[name] = top_paths(own, found, volatile)
        for path, depth in found.items():
            depths[path] = min(depth, depths.get(path, depth))
    model = prior_model(reach, depths)
    shared = _shared(model, [closures[name] for name in names], [budgets[name] for name in names])
    plans = {}
    for i, name in enumerate(names):
        clusters = [c for group in shared if group.images >> i & 1 for c in group.clusters()]
        settled = {m for cluster in clusters for m in cluster.members}
        rest = [path for path in closures[name].infos if reach.index[path] not in settled]
        if rest:
            clusters += partition_fresh(model, rest, budgets[name] - len(clusters), tops[name])
        layers = stacked(model, clusters, reach.bits(tops[name]))
        plan = LayerPlan.of(closures[name], [paths_of(model, c) for c in layers])
        plans[name] = replace(plan, history=PlanHistory())
    return plans


def _union(closures: Sequence[Closure]) -> Closure:
    infos: dict[StorePath, PathInfo] = {}
    for closure in closures:
        for info in closure:
            known = infos.get(info.path, info)
            if known.nar_size != info.nar_size:
                raise ClosureError(
                    f"{info.path} has {known.nar_size} bytes in one image of the family and"
                    f" {info.nar_size} in another"
                )
            # Where a base image has some of them, the references differ.
            references = {*known.references, *info.references}
            infos[info.path] = replace(info, references=tuple(sorted(references)))
    return Closure.of(infos.values())


@dataclass(slots=True)
class _Group:
    """The paths that exactly `images`, a set of bits, have; and how they may be split."""

    images: int
    pieces: list[Cluster]
    steps: list[Merger]
    parts: int = 1

    @property
    def gain(self) -> float:
        """What another layer would save, in all images."""
        if self.parts > len(self.steps):
            return 0.0
        return self.steps[-self.parts].rise * self.images.bit_count()

    def clusters(self) -> list[Cluster]:
        alive = dict(enumerate(self.pieces))
        for number, step in enumerate(self.steps[: len(self.pieces) - self.parts], len(alive)):
            del alive[step.first], alive[step.second]
            alive[number] = step.cluster
        return [*alive.values()]


def _shared(
    model: ChangeModel, closures: Sequence[Closure], budgets: Sequence[int]
) -> list[_Group]:
    """Return the groups whose images share layers."""
    held: dict[StorePath, int] = {}
    for i, closure in enumerate(closures):
        for path in closure.infos:
            held[path] = held.get(path, 0) | 1 << i
    members: dict[int, list[StorePath]] = {}
    for path in sorted(held, key=name_then_path):
        members.setdefault(held[path], []).append(path)
    reserved = [int(_SHARED_SHARE * budget) for budget in budgets]
    ranked = sorted(
        (-(images.bit_count() - 1) * sum(model.reach.closure[p].nar_size for p in paths), images)
        for images, paths in members.items()
        if images.bit_count() > 1
    )
    groups = []
    rest = [len(closure) for closure in closures]
    for saved, images in ranked:
        concerned = _images(images)
        if -saved > LAYER_OVERHEAD and all(reserved[i] for i in concerned):
            groups.append(_group(model, images, members[images]))
            for i in concerned:
                reserved[i] -= 1
                rest[i] -= len(members[images])
    for i, budget in enumerate(budgets):
        # What has no other paths needs no layers for them.
        kept = budget - int(_SHARED_SHARE * budget)
        reserved[i] += kept - min(kept, rest[i])
    _split(groups, reserved)
    return groups


def _group(model: ChangeModel, images: int, paths: Sequence[StorePath]) -> _Group:
    pieces = bucketed(model, clusters_of(model, paths), _MOST_PAIRED)
    return _Group(images, pieces, [*mergers(model, pieces)])


def _split(groups: Sequence[_Group], reserved: list[int]) -> None:
    """Spend what images have reserved on splitting the groups, by what that saves."""
    heap = [(-group.gain, number) for number, group in enumerate(groups)]
    heapify(heap)
    while heap:
        gain, number = heappop(heap)
        group = groups[number]
        concerned = _images(group.images)
        if gain < 0 and all(reserved[i] for i in concerned):
            group.parts += 1
            for i in concerned:
                reserved[i] -= 1
            heappush(heap, (-group.gain, number))


def _images(bits: int) -> list[int]:
    return [i for i in range(bits.bit_length()) if bits >> i & 1]
