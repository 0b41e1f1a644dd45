"""Replay a trace with a layering strategy, and count the bytes that the updates transfer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nixdock.layering.auto import plan_auto
from nixdock.layering.options import LayeringOptions
from nixdock.layering.plan import LayerPlan
from nixdock.layering.plan_history import PlanHistory, PreviousPlan
from nixdock.layering.popularity import plan_by_popularity
from nixdock.layering.stable import plan_stable
from nixdock.nix.closure import Closure

__all__ = ["STRATEGIES", "Cost", "cost_of", "previous_plan", "replay", "successor"]

Step = Callable[[Closure, int, LayerPlan | None], LayerPlan]


@dataclass(frozen=True)
class Cost:
    """The bytes that updates transfer.

    `pulled` are those of new layers, `chain` those of the lowest new layer and all above it, and
    `least` those of new paths, which no plan can avoid.
    """

    pulled: int = 0
    chain: int = 0
    least: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.pulled + other.pulled, self.chain + other.chain, self.least + other.least)


def successor(closure: Closure, budget: int, before: LayerPlan | None) -> LayerPlan:
    """Return the plan of `stable`, with `before` as the previous plan if it is one of `stable`."""
    if before is None or before.history is None:
        return plan_stable(closure, budget)
    return plan_stable(closure, budget, LayeringOptions(previous=previous_plan(before)))


def previous_plan(plan: LayerPlan) -> PreviousPlan:
    """Return `plan` as a previous plan."""
    return PreviousPlan(tuple(layer.paths for layer in plan.layers), plan.history or PlanHistory())


STRATEGIES: dict[str, Step] = {
    "popularity": lambda closure, budget, _: plan_by_popularity(closure, budget),
    "auto": lambda closure, budget, _: plan_auto(closure, budget),
    "stable": lambda closure, budget, _: plan_stable(closure, budget),
    "stable+previous": successor,
}


def replay(trace: Sequence[Closure], budget: int, strategy: str) -> Cost:
    """Return the total cost of the updates from each closure of `trace` to the next."""
    step = STRATEGIES[strategy]
    total = Cost()
    before: tuple[Closure, LayerPlan] | None = None
    for closure in trace:
        plan = step(closure, budget, before[1] if before else None)
        if before:
            total += cost_of(*before, closure, plan)
        before = closure, plan
    return total


def cost_of(old: Closure, before: LayerPlan, new: Closure, after: LayerPlan) -> Cost:
    """Return the cost of the update from one closure and plan to the next."""
    known = {layer.paths for layer in before.layers}
    unchanged = 0
    for old_layer, new_layer in zip(before.layers, after.layers, strict=False):
        if old_layer.paths != new_layer.paths:
            break
        unchanged += 1
    return Cost(
        pulled=sum(layer.nar_size for layer in after.layers if layer.paths not in known),
        chain=sum(layer.nar_size for layer in after.layers[unchanged:]),
        least=sum(info.nar_size for info in new if info.path not in old),
    )
