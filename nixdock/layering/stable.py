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

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from nixdock.layering.change_model import model_of, prior_model, prior_rates
from nixdock.layering.clusters import clusters_of, paths_of, union_of
from nixdock.layering.fresh import partition_fresh
from nixdock.layering.history import app_share, learn, learned_rates
from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.order import layer_order
from nixdock.layering.partition import partition
from nixdock.layering.plan import LayerPlan
from nixdock.layering.plan_history import PlanHistory, PreviousPlan
from nixdock.layering.reach import Reach
from nixdock.layering.top import top_depths, top_paths

if TYPE_CHECKING:
    from nixdock.layering.change_model import ChangeModel
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["plan_stable"]

_TOP_RATE: Final = 0.2
_SPARE_SHARE: Final = 8
"""When previous layers are dissolved for lack of room, one layer per so many of them is free."""


def plan_stable(
    closure: Closure, budget: int, options: LayeringOptions = DEFAULT_OPTIONS, /
) -> LayerPlan:
    """Keep the layers of the previous plan, and plan the other paths by their expected cost."""
    reach = Reach(closure)
    volatile = frozenset(path for path in options.volatile if path in closure)
    depths = top_depths(reach, volatile)
    previous = options.previous
    if previous is None:
        model = prior_model(reach, depths)
        upper = top_paths(reach, depths, volatile)
        clusters = partition_fresh(model, [*closure.infos], budget, upper)
        layers = [paths_of(model, c) for c in layer_order(model, clusters, reach.bits(upper))]
        return replace(LayerPlan.of(closure, layers), history=PlanHistory())
    prior = prior_rates(reach, depths)
    history = learn(previous, closure, prior)
    rates = learned_rates(history, closure, prior)
    rates.update({path: prior[path] for path in volatile})
    model = model_of(reach, rates, app_share(history))
    top = reach.users(path for path, rate in rates.items() if rate.app > _TOP_RATE)
    layers = _next_layers(model, previous, budget, top)
    return replace(LayerPlan.of(closure, layers), history=history)


def _next_layers(
    model: ChangeModel, previous: PreviousPlan, budget: int, top: int
) -> list[tuple[StorePath, ...]]:
    """Return the layers: the previous ones that can be kept, and new ones for the other paths.

    The kept layers of the unbroken bottom stay in place; all others are ordered anew above them.
    """
    reach = model.reach
    closure = reach.closure
    whole, unbroken = _whole_layers(previous, closure)
    kept = _layers_to_keep(whole, unbroken, closure, budget)
    settled = frozenset(path for layer in kept for path in layer)
    others = [path for path in closure.infos if path not in settled]
    lower = kept[: _common_length(kept, whole[:unbroken])]
    clusters = {}
    for layer in kept[len(lower) :]:
        clusters[union_of(model, clusters_of(model, layer))] = layer
    if len(closure) <= budget:
        new = clusters_of(model, others)
    else:
        new = partition(model, others, budget - len(kept)) if others else []
    for cluster in new:
        clusters[cluster] = paths_of(model, cluster)
    below = reach.cone(path for layer in lower for path in layer)
    upper = layer_order(model, clusters, top, below)
    return [*lower, *(clusters[cluster] for cluster in upper)]


def _whole_layers(
    previous: PreviousPlan, closure: Closure
) -> tuple[list[tuple[StorePath, ...]], int]:
    """Return the layers with all paths in the closure, and how many at the bottom are unbroken.

    Layers at the bottom without any path of the closure are ignored: they are a base image's.
    """
    whole = []
    unbroken = None
    for layer in previous.layers:
        present = sum(1 for path in layer if path in closure)
        if present and present == len(layer):
            whole.append(layer)
        elif (present or whole) and unbroken is None:
            unbroken = len(whole)
    return whole, len(whole) if unbroken is None else unbroken


def _layers_to_keep(
    whole: Sequence[tuple[StorePath, ...]], unbroken: int, closure: Closure, budget: int
) -> list[tuple[StorePath, ...]]:
    """Return the whole layers to keep, so that the budget has room for the other paths.

    Layers are dissolved until that is so: those above the unbroken bottom first, then the smallest.
    There must be a layer left for the other paths, if there are any; and one for every
    `_SPARE_SHARE` dissolved layers, so that their paths need not all share a single layer.
    """
    others = len(closure) - sum(len(layer) for layer in whole)
    by_size = sorted(
        range(len(whole)),
        key=lambda i: (i < unbroken, sum(closure[path].nar_size for path in whole[i]), i),
    )
    dissolved: set[int] = set()
    for i in by_size:
        left = budget - len(whole) + len(dissolved)
        if left >= 0 and not others:
            break
        if left >= max(1, len(dissolved) // _SPARE_SHARE):
            break
        dissolved.add(i)
        others += len(whole[i])
    return [layer for i, layer in enumerate(whole) if i not in dissolved]


def _common_length(left: Sequence[object], right: Sequence[object]) -> int:
    """Return how many items at the start of both sequences are equal."""
    count = 0
    while count < min(len(left), len(right)) and left[count] == right[count]:
        count += 1
    return count
