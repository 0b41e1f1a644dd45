"""The popularity strategy: a layer for each of the most popular paths, one for all others.

A path on which many others depend is likely to be in other images too, so it gets a layer of its
own. The most popular path is at the bottom; the last store layer contains all remaining paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.plan import LayerPlan
from nixdock.layering.ranking import popularity_ranking

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure

__all__ = ["plan_by_popularity"]


def plan_by_popularity(
    closure: Closure, budget: int, _options: LayeringOptions = DEFAULT_OPTIONS, /
) -> LayerPlan:
    """Give the `budget` - 1 most popular paths a layer each, and put the others into one."""
    ranked = [path for path, _ in popularity_ranking(closure)]
    alone = budget if len(ranked) <= budget else budget - 1
    groups = [(path,) for path in ranked[:alone]]
    rest = tuple(ranked[alone:])
    return LayerPlan.of(closure, [*groups, rest] if rest else groups)
