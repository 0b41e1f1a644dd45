"""Plans of several images together, so that they share layers in a registry and on machines.

If images are planned one by one, the paths they have in common get different neighbours in each,
and no layer is shared. Here, the paths that exactly the same images need can become layers, which
are the same, byte for byte, in all of these images. The remaining layers of each image are for its
other paths.

With the plans of the previous family, each image would keep certain layers, as `stable` does. A
layer stays in these images if they are at least half of those that could keep it; else its paths
are planned anew in all of them, so that they are still shared. What is in no layer that stays is
planned as above.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from nixdock.errors import ClosureError, PlanError
from nixdock.layering.change_model import ChangeModel, model_of, prior_model
from nixdock.layering.clusters import Cluster, clusters_of, layer_clusters, paths_of
from nixdock.layering.expectation import Expectation, guessed_changes, learned_changes
from nixdock.layering.fresh import partition_fresh
from nixdock.layering.history import app_share
from nixdock.layering.keeping import CleanLayers, clean_layers, layers_to_keep
from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.package_keys import package_keys
from nixdock.layering.partition import partition
from nixdock.layering.plan import LayerPlan
from nixdock.layering.reach import Reach
from nixdock.layering.relatives import previous_by_image
from nixdock.layering.shared_groups import shared_groups
from nixdock.layering.stable import stacked
from nixdock.nix.closure import Closure

if TYPE_CHECKING:
    from nixdock.layering.change_model import Rate
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import PathInfo
    from nixdock.nix.store_path import StorePath

__all__ = ["plan_family"]

_Layer: TypeAlias = "tuple[StorePath, ...]"


def plan_family(
    closures: Mapping[str, Closure],
    budgets: Mapping[str, int],
    options: LayeringOptions = DEFAULT_OPTIONS,
    /,
) -> dict[str, LayerPlan]:
    """Plan images, given by their names, so that they share layers; each within its budget.

    Of the options, `volatile` is used, and `previous` and `older`: plans of images of the previous
    family, in any order; of several versions of one image, the newest first. Raise PlanError if an
    image has no budget of at least one layer, ClosureError if closures contradict each other.
    """
    names = sorted(closures)
    for name in names:
        if budgets.get(name, 0) < 1:
            raise PlanError(f"the image {name} needs a budget of at least one layer")
    union = _union([closures[name] for name in names])
    options = options.for_closure(union)
    plans = [] if options.previous is None else [options.previous, *options.older]
    previous = previous_by_image([closures[name] for name in names], plans)
    images = [
        _image(closures[name], budgets[name], options, plans)
        for name, plans in zip(names, previous, strict=True)
    ]
    kept = _kept(images)
    left = [image.budget - len(layers) for image, layers in zip(images, kept, strict=True)]
    new = _new_layers(_common_model(Reach(union), images), images, kept, left)
    return {
        name: image.plan(*layers)
        for name, image, *layers in zip(names, images, kept, new, strict=True)
    }


class _Image(Struct, frozen=True):
    """An image to plan: `clean` are the layers of previous images that it could keep."""

    closure: Closure
    budget: int
    expected: Expectation
    clean: CleanLayers
    is_first: bool

    def plan(self, kept: Sequence[_Layer], new: Sequence[_Layer]) -> LayerPlan:
        model = self.expected.model
        clusters = layer_clusters(model, new)
        unbroken = self.clean.layers[: self.clean.unbroken]
        plan = LayerPlan.of(self.closure, stacked(self.expected, kept, unbroken, clusters))
        return replace(plan, history=self.expected.history)

    def wished(self) -> list[_Layer]:
        """Return the layers that the image would keep if it were planned alone."""
        if not self.clean.layers:
            return []
        expected = self.expected
        return layers_to_keep(expected.model, self.clean, expected.newcomers, self.budget).layers


def _image(
    closure: Closure, budget: int, options: LayeringOptions, previous: Sequence[PreviousPlan]
) -> _Image:
    guess = guessed_changes(closure, options.volatile)
    if not previous:
        return _Image(closure, budget, guess, CleanLayers((), 0, ()), is_first=True)
    clean = clean_layers([plan.layers for plan in previous], closure)
    expected = learned_changes(guess, previous[0])
    return _Image(closure, budget, expected, clean, is_first=False)


def _kept(images: Sequence[_Image]) -> list[list[_Layer]]:
    """Return the layers that each image keeps: of those that it wishes, those that stay."""
    wished = [image.wished() for image in images]
    holders = Counter(layer for image in images for layer in image.clean.layers)
    votes = Counter(layer for layers in wished for layer in layers)
    return [[layer for layer in layers if 2 * votes[layer] >= holders[layer]] for layers in wished]


def _new_layers(
    model: ChangeModel,
    images: Sequence[_Image],
    kept: Sequence[Sequence[_Layer]],
    left: Sequence[int],
) -> list[list[_Layer]]:
    """Return the layers of each image for the paths that are in none of `kept`.

    `model` is that of all images together, and `left` how many new layers each may have.
    """
    needed = []
    for image, layers in zip(images, kept, strict=True):
        settled = frozenset(path for layer in layers for path in layer)
        needed.append([path for path in image.closure.infos if path not in settled])
    groups = [(group.images, group.layers(model)) for group in shared_groups(model, needed, left)]
    new = []
    for i, image in enumerate(images):
        clusters = [c for members, layers in groups if members >> i & 1 for c in layers]
        shared = {member for cluster in clusters for member in cluster.members}
        rest = [path for path in needed[i] if model.reach.index[path] not in shared]
        if rest:
            clusters += _own_layers(model, image, rest, left[i] - len(clusters))
        new.append([paths_of(model, cluster) for cluster in clusters])
    return new


def _own_layers(
    model: ChangeModel, image: _Image, rest: Sequence[StorePath], budget: int
) -> list[Cluster]:
    if image.is_first:
        return partition_fresh(model, rest, budget, image.expected.top)
    if len(rest) <= budget:
        return clusters_of(model, rest)
    return partition(model, rest, budget)


def _common_model(reach: Reach, images: Sequence[_Image]) -> ChangeModel:
    """Return the model of all images together.

    A path has the rate that the image has learned which has seen most updates of it.
    """
    if all(image.is_first for image in images):
        depths: dict[StorePath, int] = {}
        for image in images:
            for path, depth in image.expected.depths.items():
                depths[path] = min(depth, depths.get(path, depth))
        return prior_model(reach, depths)
    rates: dict[StorePath, Rate] = {}
    seen: dict[StorePath, int] = {}
    for image in images:
        history = image.expected.history
        for key, path in package_keys(image.closure.infos).items():
            updates = history.of_package(key).seen
            if updates > seen.get(path, -1):
                seen[path] = updates
                rates[path] = image.expected.rates[path]
    shares = [app_share(image.expected.history) for image in images]
    return model_of(reach, rates, fsum(shares) / len(shares))


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
