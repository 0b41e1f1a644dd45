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
from dataclasses import replace
from typing import TYPE_CHECKING

from nixdock.layering.clusters import clusters_of, paths_of, union_of
from nixdock.layering.expectation import expected_changes
from nixdock.layering.fresh import partition_fresh
from nixdock.layering.history import newcomers
from nixdock.layering.keeping import clean_layers, layers_to_keep
from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.order import layer_order
from nixdock.layering.partition import partition
from nixdock.layering.plan import LayerPlan

if TYPE_CHECKING:
    from nixdock.layering.expectation import Expectation
    from nixdock.layering.keeping import CleanLayers
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["plan_stable", "stacked"]


def plan_stable(
    closure: Closure, budget: int, options: LayeringOptions = DEFAULT_OPTIONS, /
) -> LayerPlan:
    """Keep the layers of the previous plan, and plan the other paths by their expected cost."""
    previous = options.previous
    expected = expected_changes(closure, options.volatile, previous)
    if previous is None:
        model = expected.model
        clusters = partition_fresh(model, [*closure.infos], budget, expected.top)
        ordered = layer_order(model, clusters, model.reach.bits(expected.top))
        layers = [paths_of(model, cluster) for cluster in ordered]
    else:
        layers = _next_layers(expected, [previous, *options.older], budget)
    return replace(LayerPlan.of(closure, layers), history=expected.history)


def _next_layers(
    expected: Expectation, previous: Sequence[PreviousPlan], budget: int
) -> list[tuple[StorePath, ...]]:
    """Return the layers: the previous ones that can be kept, and new ones for the other paths.

    `previous` are the plans of previous images, the newest first.
    """
    model = expected.model
    closure = model.reach.closure
    clean = clean_layers([plan.layers for plan in previous], closure)
    kept = layers_to_keep(model, clean, newcomers(expected.history, closure), budget)
    settled = frozenset(path for layer in kept for path in layer)
    others = [path for path in closure.infos if path not in settled]
    if len(closure) <= budget:
        new = clusters_of(model, others)
    else:
        new = partition(model, others, budget - len(kept)) if others else []
    return stacked(expected, clean, kept, [paths_of(model, cluster) for cluster in new])


def stacked(
    expected: Expectation,
    clean: CleanLayers,
    kept: Sequence[tuple[StorePath, ...]],
    new: Iterable[tuple[StorePath, ...]],
) -> list[tuple[StorePath, ...]]:
    """Return the layers in order: the unbroken bottom of those that are kept stays in place."""
    model = expected.model
    lower = [*kept[: _common_length(kept, clean.layers[: clean.unbroken])]]
    upper = {
        union_of(model, clusters_of(model, layer)): layer for layer in [*kept[len(lower) :], *new]
    }
    below = model.reach.cone(path for layer in lower for path in layer)
    ordered = layer_order(model, upper, model.reach.bits(expected.top), below)
    return [*lower, *(upper[cluster] for cluster in ordered)]


def _common_length(left: Sequence[object], right: Sequence[object]) -> int:
    """Return how many items at the start of both sequences are equal."""
    count = 0
    while count < min(len(left), len(right)) and left[count] == right[count]:
        count += 1
    return count
