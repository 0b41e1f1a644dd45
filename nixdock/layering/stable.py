"""The stable strategy: layers that change as little as possible from one image to the next.

Without the previous image, the plan rests on the shape of the closure: large paths alone, the app
on top, the rest merged by what an update is expected to cost.

With it, what already lies in registries and on machines decides: a layer whose paths all still
exist stays as it is, byte for byte, and the unbroken layers at the bottom stay in their order. Just
the rest, which has to be transferred anyway, is partitioned again, and there what earlier updates
have taught takes effect. To plan everything anew with better knowledge would cost more than it
saves, as every layer would change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from nixdock.layering.change_model import model_of, prior_model, prior_rates
from nixdock.layering.clusters import clusters_of, joined, paths_of
from nixdock.layering.fresh import partition_fresh
from nixdock.layering.history import app_share, learn, learned_rates
from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.order import stacked
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


def plan_stable(
    closure: Closure, budget: int, options: LayeringOptions = DEFAULT_OPTIONS, /
) -> LayerPlan:
    """Keep the layers of the previous image, and plan what is left by its expected cost."""
    reach = Reach(closure)
    volatile = frozenset(path for path in options.volatile if path in closure)
    depths = top_depths(reach, volatile)
    previous = options.previous
    if previous is None:
        model = prior_model(reach, depths)
        upper = top_paths(reach, depths, volatile)
        clusters = partition_fresh(model, [*closure.infos], budget, upper)
        layers = [paths_of(model, c) for c in stacked(model, clusters, reach.bits(upper))]
        return replace(LayerPlan.of(closure, layers), history=PlanHistory())
    prior = prior_rates(reach, depths)
    history = learn(previous, closure, prior)
    rates = learned_rates(history, closure, prior)
    rates.update({path: prior[path] for path in volatile})
    model = model_of(reach, rates, app_share(history))
    top = reach.users(path for path, rate in rates.items() if rate.app > _TOP_RATE)
    layers = _renewed(model, previous, budget, top)
    return replace(LayerPlan.of(closure, layers), history=history)


def _renewed(
    model: ChangeModel, previous: PreviousPlan, budget: int, top: int
) -> list[tuple[StorePath, ...]]:
    """Return the layers: the previous ones that are whole, and what is left in new ones."""
    reach = model.reach
    closure = reach.closure
    clean, prefix = _whole(previous, closure)
    kept = _kept(clean, prefix, closure, budget)
    settled = frozenset(path for layer in kept for path in layer)
    dirty = [path for path in closure.infos if path not in settled]
    lower = kept[: _common(kept, clean[:prefix])]
    clusters = {}
    for layer in kept[len(lower) :]:
        clusters[joined(model, clusters_of(model, layer))] = layer
    if len(closure) <= budget:
        new = clusters_of(model, dirty)
    else:
        new = partition(model, dirty, budget - len(kept)) if dirty else []
    for cluster in new:
        clusters[cluster] = paths_of(model, cluster)
    below = reach.cone(path for layer in lower for path in layer)
    upper = stacked(model, clusters, top, below)
    return [*lower, *(clusters[cluster] for cluster in upper)]


def _whole(previous: PreviousPlan, closure: Closure) -> tuple[list[tuple[StorePath, ...]], int]:
    """Return the layers whose paths all still exist, and how many at the bottom are unbroken.

    Layers at the bottom that have nothing in common with the closure are a base image's.
    """
    clean = []
    prefix = None
    for layer in previous.layers:
        held = sum(1 for path in layer if path in closure)
        if held and held == len(layer):
            clean.append(layer)
        elif (held or clean) and prefix is None:
            prefix = len(clean)
    return clean, len(clean) if prefix is None else prefix


def _kept(
    clean: Sequence[tuple[StorePath, ...]], prefix: int, closure: Closure, budget: int
) -> list[tuple[StorePath, ...]]:
    """Return the clean layers that can stay, so that there is room for the rest."""
    others = len(closure) - sum(len(layer) for layer in clean)
    by_size = sorted(
        range(len(clean)),
        key=lambda i: (i < prefix, sum(closure[path].nar_size for path in clean[i]), i),
    )
    dissolved: set[int] = set()
    for i in by_size:
        left = budget - len(clean) + len(dissolved)
        if left >= 0 and not others:
            break
        if left >= max(1, len(dissolved) // _SPARE_SHARE):
            break
        dissolved.add(i)
        others += len(clean[i])
    return [layer for i, layer in enumerate(clean) if i not in dissolved]


def _common(one: Sequence[object], other: Sequence[object]) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count
