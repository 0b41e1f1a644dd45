"""Plans of several images together, so that they share layers in a registry and on machines.

If images are planned one by one, the paths they have in common get different neighbours in each,
and no layer is shared. Here, the paths that exactly the same images contain form a group. The
groups that save most by being shared become layers, which are the same, byte for byte, in every
image of the group. The remaining layers of each image are for its other paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from nixdock.errors import ClosureError, PlanError
from nixdock.layering.change_model import LAYER_OVERHEAD, ChangeModel, prior_model
from nixdock.layering.clusters import Cluster, paths_of
from nixdock.layering.condensing import condense
from nixdock.layering.fresh import partition_fresh
from nixdock.layering.merging import Merger, mergers
from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.order import layer_order
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
"""The share of an image's layers that shared groups may take while it has paths for the others."""
_MOST_PAIRED: Final = 300


def plan_family(
    closures: Mapping[str, Closure],
    budgets: Mapping[str, int],
    options: LayeringOptions = DEFAULT_OPTIONS,
    /,
) -> dict[str, LayerPlan]:
    """Plan images, given by their names, so that they share layers; each within its budget.

    Only the option `volatile` is used. Raise PlanError if an image has no budget of at least one
    layer, ClosureError if closures contradict each other.
    """
    names = sorted(closures)
    for name in names:
        if budgets.get(name, 0) < 1:
            raise PlanError(f"the image {name} needs a budget of at least one layer")
    reach = Reach(_union([closures[name] for name in names]))
    tops: dict[str, frozenset[StorePath]] = {}
    depths: dict[StorePath, int] = {}
    for name in names:
        image_reach = Reach(closures[name])
        volatile = [path for path in options.volatile if path in closures[name]]
        image_depths = top_depths(image_reach, volatile)
        tops[name] = top_paths(image_reach, image_depths, volatile)
        for path, depth in image_depths.items():
            depths[path] = min(depth, depths.get(path, depth))
    model = prior_model(reach, depths)
    groups = _shared_groups(
        model, [closures[name] for name in names], [budgets[name] for name in names]
    )
    plans = {}
    for i, name in enumerate(names):
        clusters = [c for group in groups if group.images >> i & 1 for c in group.clusters()]
        shared = {m for cluster in clusters for m in cluster.members}
        rest = [path for path in closures[name].infos if reach.index[path] not in shared]
        if rest:
            clusters += partition_fresh(model, rest, budgets[name] - len(clusters), tops[name])
        layers = layer_order(model, clusters, reach.bits(tops[name]))
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
                    f" {info.nar_size} in another",
                    path=info.path,
                )
            # References differ if the base image of only some images contains a referenced path.
            references = {*known.references, *info.references}
            infos[info.path] = replace(info, references=tuple(sorted(references)))
    return Closure.of(infos.values())


@dataclass(slots=True)
class _Group:
    """The paths that exactly `images`, a bit set, contain, and how to split them into layers.

    `steps` merge `pieces`, cheapest first, until all are one. To split the group into `parts`, the
    last `parts` - 1 steps are left out.
    """

    images: int
    pieces: list[Cluster]
    steps: list[Merger]
    parts: int = 1

    @property
    def gain(self) -> float:
        """The expected bytes that one more part would save, in all images together."""
        if self.parts > len(self.steps):
            return 0.0
        return self.steps[-self.parts].rise * self.images.bit_count()

    def clusters(self) -> list[Cluster]:
        """Replay all but the last steps; the number of a cluster is that of `mergers`."""
        remaining = dict(enumerate(self.pieces))
        steps = self.steps[: len(self.pieces) - self.parts]
        for number, step in enumerate(steps, len(remaining)):
            del remaining[step.first], remaining[step.second]
            remaining[number] = step.cluster
        return [*remaining.values()]


def _shared_groups(
    model: ChangeModel, closures: Sequence[Closure], budgets: Sequence[int]
) -> list[_Group]:
    """Return the groups that are shared, split into as many layers as the budgets allow.

    While groups are chosen, `reserved[i]` is the number of layers that image i may still give to
    shared groups, and `rest[i]` the number of its paths that are in no group.
    """
    images_of: dict[StorePath, int] = {}
    for i, closure in enumerate(closures):
        for path in closure.infos:
            images_of[path] = images_of.get(path, 0) | 1 << i
    members: dict[int, list[StorePath]] = {}
    for path in sorted(images_of, key=name_then_path):
        members.setdefault(images_of[path], []).append(path)
    reserved = [int(_SHARED_SHARE * budget) for budget in budgets]
    # Sharing a group saves its size once for every image but one. The largest saving comes first.
    candidates = sorted(
        (-(images.bit_count() - 1) * sum(model.reach.closure[p].nar_size for p in paths), images)
        for images, paths in members.items()
        if images.bit_count() > 1
    )
    groups = []
    rest = [len(closure) for closure in closures]
    for negative_saving, images in candidates:
        concerned = _image_numbers(images)
        if -negative_saving > LAYER_OVERHEAD and all(reserved[i] for i in concerned):
            groups.append(_group(model, images, members[images]))
            for i in concerned:
                reserved[i] -= 1
                rest[i] -= len(members[images])
    for i, budget in enumerate(budgets):
        # The layers outside `_SHARED_SHARE` are for the other paths of the image. Those beyond the
        # number of these paths would stay empty, so groups get them.
        unshared = budget - int(_SHARED_SHARE * budget)
        reserved[i] += unshared - min(unshared, rest[i])
    _split(groups, reserved)
    return groups


def _group(model: ChangeModel, images: int, paths: Sequence[StorePath]) -> _Group:
    pieces = condense(model, paths, _MOST_PAIRED)
    return _Group(images, pieces, [*mergers(model, pieces)])


def _split(groups: Sequence[_Group], reserved: list[int]) -> None:
    """Spend the layers that images have reserved on splitting the groups that gain most by it.

    Each group is on the heap at most once, with its current gain. It leaves the heap for good when
    a split gains nothing, or when one of its images has no layer left: `reserved` only shrinks.
    """
    heap = [(-group.gain, number) for number, group in enumerate(groups)]
    heapify(heap)
    while heap:
        negative_gain, number = heappop(heap)
        group = groups[number]
        concerned = _image_numbers(group.images)
        if negative_gain < 0 and all(reserved[i] for i in concerned):
            group.parts += 1
            for i in concerned:
                reserved[i] -= 1
            heappush(heap, (-group.gain, number))


def _image_numbers(images: int) -> list[int]:
    return [i for i in range(images.bit_length()) if images >> i & 1]
