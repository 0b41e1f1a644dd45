"""The layers that images of a family share: paths that exactly the same images need.

The paths that exactly the same images need form a group. A group that is shared takes a layer of
each of its images, so it must save more bytes in registries than these layers would save clients.
The groups that remain, and the other paths of each image, are split where that saves most.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.layering.change_model import LAYER_OVERHEAD
from nixdock.layering.clusters import Cluster, layer_clusters
from nixdock.layering.condensing import condense
from nixdock.layering.merging import Merger, mergers
from nixdock.layering.reach import name_then_path
from nixdock.layering.refinement import refine

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.nix.store_path import StorePath

__all__ = ["SharedGroup", "shared_groups"]

_SHARED_SHARE: Final = 0.65
"""The share of an image's layers that groups may take; the image may split them into more."""
_HORIZON: Final = 20
"""The number of updates by which a layer must have saved the bytes that a registry stores again."""
_MOST_PAIRED: Final = 300


class SharedGroup(Struct):
    """The paths that exactly `images`, a bit set, need, and how to split them into layers.

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

    def layers(self, model: ChangeModel) -> list[Cluster]:
        """Replay all but the last steps, and let pieces move to where they cost less.

        The number of a cluster is that of `mergers`.
        """
        remaining = dict(enumerate(self.pieces))
        steps = self.steps[: len(self.pieces) - self.parts]
        for number, step in enumerate(steps, len(remaining)):
            del remaining[step.first], remaining[step.second]
            remaining[number] = step.cluster
        return refine(model, self.pieces, [*remaining.values()], self.parts)


def shared_groups(
    model: ChangeModel, needed: Sequence[Collection[StorePath]], budgets: Sequence[int]
) -> list[SharedGroup]:
    """Return the groups that are shared, split into as many layers as the budgets allow.

    `needed` are the paths of each image, for which it has a budget of at least one layer if there
    are any.
    """
    images_of: dict[StorePath, int] = {}
    for i, paths in enumerate(needed):
        for path in paths:
            images_of[path] = images_of.get(path, 0) | 1 << i
    members: dict[int, list[StorePath]] = {}
    for path in sorted(images_of, key=name_then_path):
        members.setdefault(images_of[path], []).append(path)
    left = [*budgets]
    shared = _worthwhile(model, members, needed, left)
    groups = [_group(model, images, members[images]) for images in shared]
    own: list[SharedGroup] = []
    for i, paths in enumerate(needed):
        if rest := [path for path in paths if images_of[path] not in shared]:
            own.append(_group(model, 1 << i, rest))
            left[i] -= 1
    _split([*groups, *own], left)
    return groups


def _worthwhile(
    model: ChangeModel,
    members: Mapping[int, Sequence[StorePath]],
    needed: Sequence[Collection[StorePath]],
    left: list[int],
) -> list[int]:
    """Return the sets of images whose groups to share, and take their layers from `left`."""
    prices = [
        _layer_price(model, paths, budget) for paths, budget in zip(needed, left, strict=True)
    ]
    candidates = []
    for images, paths in members.items():
        others = images.bit_count() - 1
        (group,) = layer_clusters(model, [paths])
        # Shared, a group is stored and transferred once instead of once for every image.
        saved = others * (group.size / _HORIZON + group.cost)
        price = math.fsum(prices[i] for i in _image_numbers(images))
        if others * group.size > LAYER_OVERHEAD and saved > price:
            candidates.append((price - saved, images))
    # A layer is left for the rest of an image.
    reserved = [min(budget - 1, math.ceil(_SHARED_SHARE * budget)) for budget in left]
    shared = []
    for _, images in sorted(candidates):
        concerned = _image_numbers(images)
        if all(reserved[i] > 0 for i in concerned):
            shared.append(images)
            for i in concerned:
                reserved[i] -= 1
                left[i] -= 1
    return shared


def _layer_price(model: ChangeModel, paths: Collection[StorePath], budget: int) -> float:
    """Return the expected bytes that an image with `budget` layers would save by one more."""
    pieces = condense(model, paths, _MOST_PAIRED)
    excess = len(pieces) - budget
    if excess <= 0:
        return 0.0
    last = next(islice(mergers(model, pieces), excess - 1, None))
    return max(0.0, last.rise)


def _group(model: ChangeModel, images: int, paths: Sequence[StorePath]) -> SharedGroup:
    pieces = condense(model, paths, _MOST_PAIRED)
    return SharedGroup(images, pieces, [*mergers(model, pieces)])


def _split(groups: Sequence[SharedGroup], left: list[int]) -> None:
    """Spend the layers that images have left on splitting the groups that gain most by it.

    Each group is on the heap at most once, with its current gain. It leaves the heap for good when
    a split gains nothing, or when one of its images has no layer left: `left` only shrinks.
    """
    heap = [(-group.gain, number) for number, group in enumerate(groups)]
    heapify(heap)
    while heap:
        negative_gain, number = heappop(heap)
        group = groups[number]
        concerned = _image_numbers(group.images)
        if negative_gain < 0 and all(left[i] for i in concerned):
            group.parts += 1
            for i in concerned:
                left[i] -= 1
            heappush(heap, (-group.gain, number))


def _image_numbers(images: int) -> list[int]:
    return [i for i in range(images.bit_length()) if images >> i & 1]
