"""The stable strategy: layers that change as little as possible from one image to the next.

Without a previous plan, the plan rests on the graph and the sizes: large paths get layers of their
own, the app is on top, and the other paths are merged by the expected cost of an update.

With a previous plan, layers that registries and machines already have stay. A layer whose paths
are all still in the closure is kept, byte for byte, and the unbroken layers at the bottom keep
their order. Only the other paths, which must be transferred anyway, are partitioned again, with the
rates that earlier updates have taught. To plan all paths again with better rates would cost more
than it saves, because every layer would change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import replace

from nixdock.layering.clusters import clusters_of, joint_clusters, layer_clusters, paths_of
from nixdock.layering.expectation import guessed_changes, learned_changes
from nixdock.layering.fresh import partition_fresh
from nixdock.layering.history import memory_risk
from nixdock.layering.insuring import insure
from nixdock.layering.keeping import Kept, clean_layers, layers_to_keep
from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.order import layer_order
from nixdock.layering.partition import partition
from nixdock.layering.plan import LayerPlan

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.layering.clusters import Cluster
    from nixdock.layering.expectation import Expectation
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["plan_stable", "stacked"]

Layer: TypeAlias = "tuple[StorePath, ...]"


def plan_stable(
    closure: Closure, budget: int, options: LayeringOptions = DEFAULT_OPTIONS, /
) -> LayerPlan:
    """Keep the layers of the previous plan, and plan the other paths by their expected cost."""
    guess = guessed_changes(closure, options.volatile)
    previous = options.previous
    if previous is None:
        fresh = _fresh(guess, budget)
        order = layer_order(guess.model, fresh, guess.model.reach.bits(guess.top))
        layers = [paths_of(guess.model, cluster) for cluster in order]
        return replace(LayerPlan.of(closure, layers), history=guess.history)
    expected = learned_changes(guess, previous)
    model, history = expected.model, expected.history
    images = (previous, *options.older)
    clean = clean_layers([image.layers for image in images], closure)
    kept = layers_to_keep(model, clean, expected.newcomers, budget)
    # Clients have none of several previous images only if all these memories fail.
    risk = prod(memory_risk(history) for _ in images)
    new = _replanned(guess, model, kept, budget, risk)
    layers = stacked(expected, kept.layers, clean.layers[: clean.unbroken], new)
    return replace(LayerPlan.of(closure, layers), history=history)


def _fresh(guess: Expectation, budget: int) -> list[Cluster]:
    """Return the clusters of a plan without memory."""
    return partition_fresh(guess.model, [*guess.model.reach.closure.infos], budget, guess.top)


def _replanned(
    guess: Expectation, model: ChangeModel, kept: Kept, budget: int, risk: float
) -> list[Cluster]:
    """Return clusters for the paths that are not in `kept`."""
    reach = model.reach
    settled = frozenset(reach.index[path] for layer in kept.layers for path in layer)
    others = [path for path in reach.closure.infos if reach.index[path] not in settled]
    # A single path, such as a changed app, shares its layer with none, whatever a fresh plan says.
    if len(reach.order) <= budget or len(others) <= 1:
        return clusters_of(model, others)
    room = budget - len(kept.layers)
    clusters = partition(model, others, room, coarse=kept.others)
    fresh = _fresh(guess, budget)
    groups = joint_clusters(model, [c.members for c in fresh if settled.isdisjoint(c.members)])
    return insure(model, clusters, groups, room, risk)


def stacked(
    expected: Expectation,
    kept: Sequence[Layer],
    unbroken: Sequence[Layer],
    new: Iterable[Cluster],
) -> list[Layer]:
    """Return the `kept` and the new layers, bottom to top.

    Kept layers of the `unbroken` bottom of the previous image stay in place; all others are ordered
    anew above them.
    """
    model = expected.model
    lower = kept[: _common_length(kept, unbroken)]
    movable = kept[len(lower) :]
    clusters = dict(zip(layer_clusters(model, movable), movable, strict=True))
    for cluster in new:
        clusters[cluster] = paths_of(model, cluster)
    below = model.reach.cone(path for layer in lower for path in layer)
    upper = layer_order(model, clusters, model.reach.bits(expected.top), below)
    return [*lower, *(clusters[cluster] for cluster in upper)]


def _common_length(left: Sequence[object], right: Sequence[object]) -> int:
    """Return how many items at the start of both sequences are equal."""
    count = 0
    while count < min(len(left), len(right)) and left[count] == right[count]:
        count += 1
    return count
