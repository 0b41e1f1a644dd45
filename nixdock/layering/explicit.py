"""The explicit strategy: groups that the user names, the rest by another strategy.

Who knows what changes together knows more than any graph says. Each group is a layer, in the
order in which the groups stand, at the bottom of the image; a path that two groups name is in the
first. What no group names goes above them, planned within the layers that are left, where the
paths that the groups took still carry references through: what used a path by way of a grouped
one depends on it as before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nixdock.errors import PlanError
from nixdock.layering.options import Group, LayeringOptions
from nixdock.layering.plan import LayerPlan, Planner
from nixdock.layering.reach import Reach, name_then_path
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["contracted", "group_layers", "options_for_rest", "plan_explicit"]

log = logging.getLogger(__name__)


def plan_explicit(
    closure: Closure, budget: int, options: LayeringOptions, plan_rest: Planner
) -> LayerPlan:
    """Give each of the options' groups a layer, and plan the remaining paths with `plan_rest`.

    Raise PlanError if there are more layers to make than `budget`. Paths that are not in the
    closure are ignored with a warning.
    """
    _warn_of_strangers(closure, options.groups)
    layers = [layer for layer in group_layers(closure, options.groups) if layer]
    grouped = frozenset(path for layer in layers for path in layer)
    left = len(closure) - len(grouped)
    needed = len(layers) + (1 if left else 0)
    if needed > budget:
        rest = f" and the {left} store paths left over" if left else ""
        raise PlanError(
            f"{counted(len(layers), 'group')}{rest} need at least {needed} layers, but there is"
            f" room for {budget}: join groups or raise max_layers"
        )
    if not left:
        return LayerPlan.of(closure, layers)
    remaining = contracted(closure, grouped)
    plan = plan_rest(remaining, budget - len(layers), options_for_rest(options, grouped))
    above = [layer.paths for layer in plan.layers]
    return replace(
        LayerPlan.of(closure, [*layers, *above], removed=plan.removed), history=plan.history
    )


def group_layers(closure: Closure, groups: Sequence[Group]) -> list[tuple[StorePath, ...]]:
    """Return the layer of each group, empty if the groups before have taken all of its paths."""
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


def contracted(closure: Closure, removed: frozenset[StorePath]) -> Closure:
    """Return the closure less `removed`, whose referrers refer to what they referred to."""
    exposed: dict[StorePath, frozenset[StorePath]] = {}
    kept: dict[StorePath, frozenset[StorePath]] = {}
    for path in reversed(Reach(closure).order):
        references: set[StorePath] = set()
        for reference in closure[path].references:
            if reference in removed:
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
    """Return the options for planning what the groups leave."""
    return replace(
        options,
        volatile=options.volatile - grouped,
        previous=None if options.previous is None else _without(options.previous, grouped),
        groups=(),
    )


def _without(previous: PreviousPlan, grouped: frozenset[StorePath]) -> PreviousPlan:
    # The groups' own layers are none of the rest's; a layer that held others beside is broken.
    layers = tuple(layer for layer in previous.layers if grouped.isdisjoint(layer))
    return replace(previous, layers=layers)


def _warn_of_strangers(closure: Closure, groups: Sequence[Group]) -> None:
    strangers = [
        (number, path)
        for number, group in enumerate(groups, 1)
        for path in (*group.paths, *group.closure_of)
        if path not in closure
    ]
    if strangers:
        number, path = strangers[0]
        more = f", and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        log.warning("not in the closure, so left out: %s in group %d%s", path, number, more)
