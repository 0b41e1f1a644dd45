"""The popularity strategy: the most popular paths alone, the rest together.

What many paths depend on is likely to be shared with other images, so it gets a layer of its
own, most popular at the bottom. The last store layer is the catch-all for what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.plan import LayerPlan
from nixdock.layering.ranking import by_popularity

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure

__all__ = ["plan_by_popularity"]


def plan_by_popularity(
    closure: Closure, budget: int, _options: LayeringOptions = DEFAULT_OPTIONS, /
) -> LayerPlan:
    """Give the `budget` - 1 most popular paths a layer each and put the others in one."""
    ranked = [path for path, _ in by_popularity(closure)]
    alone = budget if len(ranked) <= budget else budget - 1
    groups = [(path,) for path in ranked[:alone]]
    rest = tuple(ranked[alone:])
    return LayerPlan.of(closure, [*groups, rest] if rest else groups)
