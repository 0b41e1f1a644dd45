"""The explicit strategy: a layer for each group that the user names, the rest by another strategy.

Users who know which paths change together know more than the graph tells. Each group is a layer at
the bottom of the image, in the order of the groups; a path that two groups name is in the first.
The paths outside the groups are planned above them, within the layers that are left. In the graph
for that plan, references pass through grouped paths: a path that refers to another only by way of
a grouped path still depends on it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nixdock.errors import PlanError
from nixdock.layering.options import Group, LayeringOptions
from nixdock.layering.plan import LayerPlan, Planner
from nixdock.layering.reach import Reach, name_then_path
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["contract", "group_layers", "options_for_rest", "plan_explicit"]

log = logging.getLogger(__name__)


def plan_explicit(
    closure: Closure, budget: int, options: LayeringOptions, plan_rest: Planner
) -> LayerPlan:
    """Give each group of the options a layer, and plan the other paths with `plan_rest`.

    Raise PlanError if that takes more layers than `budget`. Grouped paths that are not in the
    closure are ignored with a warning.
    """
    _warn_of_missing(closure, options.groups)
    layers = [layer for layer in group_layers(closure, options.groups) if layer]
    grouped = frozenset(path for layer in layers for path in layer)
    left = len(closure) - len(grouped)
    needed = len(layers) + (1 if left else 0)
    if needed > budget:
        rest = f" and the {left} store paths left over" if left else ""
        raise PlanError(
            f"{counted(len(layers), 'group')}{rest} need at least {needed} layers, but there is"
            f" room for {budget}: merge groups or raise max_layers"
        )
    if not left:
        return LayerPlan.of(closure, layers)
    remaining = contract(closure, grouped)
    plan = plan_rest(remaining, budget - len(layers), options_for_rest(options, grouped))
    above = [layer.paths for layer in plan.layers]
    return replace(
        LayerPlan.of(closure, [*layers, *above], removed=plan.removed), history=plan.history
    )


def group_layers(closure: Closure, groups: Sequence[Group]) -> list[tuple[StorePath, ...]]:
    """Return the layer of each group; it is empty if earlier groups have all of its paths."""
    reach = Reach(closure)
    taken = 0
    layers = []
    for group in groups:
        members = reach.bits(path for path in group.paths if path in closure)
        if roots := [path for path in group.closure_of if path in closure]:
            members |= reach.cone(roots)
        members &= ~taken
        taken |= members
        layers.append(tuple(sorted(reach.paths(members), key=name_then_path)))
    return layers


def contract(closure: Closure, removed: frozenset[StorePath]) -> Closure:
    """Return the closure without `removed`, whose references pass to the paths that use them."""
    exposed: dict[StorePath, frozenset[StorePath]] = {}
    kept: dict[StorePath, frozenset[StorePath]] = {}
    # References come before the paths that use them, so those of a removed path are known by then,
    # and contain no removed path themselves.
    for path in reversed(Reach(closure).order):
        references: set[StorePath] = set()
        for reference in closure[path].references:
            if reference in removed:
                # A removed path that refers to itself is not in `exposed` yet.
                references |= exposed.get(reference, frozenset())
            else:
                references.add(reference)
        (exposed if path in removed else kept)[path] = frozenset(references)
    return type(closure)(
        {
            info.path: replace(info, references=tuple(sorted(kept[info.path])))
            for info in closure
            if info.path in kept
        }
    )


def options_for_rest(options: LayeringOptions, grouped: frozenset[StorePath]) -> LayeringOptions:
    """Return the options with which the paths outside the groups are planned."""
    return replace(
        options,
        volatile=options.volatile - grouped,
        previous=None if options.previous is None else _without(options.previous, grouped),
        older=tuple(_without(plan, grouped) for plan in options.older),
        groups=(),
    )


def _without(previous: PreviousPlan, grouped: frozenset[StorePath]) -> PreviousPlan:
    """Drop the previous layers that contain grouped paths."""
    layers = tuple(layer for layer in previous.layers if grouped.isdisjoint(layer))
    return replace(previous, layers=layers)


def _warn_of_missing(closure: Closure, groups: Sequence[Group]) -> None:
    # A warning, not an error: groups are often written once for several images, or have outlived an
    # update. It changes nothing in the plan, which remains a function of the arguments.
    missing = [
        (number, path)
        for number, group in enumerate(groups, 1)
        for path in (*group.paths, *group.closure_of)
        if path not in closure
    ]
    if missing:
        number, path = missing[0]
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        log.warning(
            "ignoring grouped paths that are not in the closure: %s in group %d%s",
            path,
            number,
            more,
        )
