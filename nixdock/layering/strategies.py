"""The strategies by name, and layerings: a strategy with its options, which makes plans.

::

    layering = layering_of("explicit", groups=[[...]], rest="auto")
    plan = layering.plan(closure, layering.budget(max_layers, most_layers=125))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from nixdock.errors import InputError, LayeringError
from nixdock.layering.options import DEFAULT_OPTIONS, DEFAULT_STRATEGY, Group, LayeringOptions
from nixdock.layering.plan import store_layer_budget
from nixdock.nix.store_path import StorePath

if TYPE_CHECKING:
    from nixdock.layering.pipeline.operations import Operation
    from nixdock.layering.plan import LayerPlan, Planner
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure

__all__ = ["STRATEGIES", "Layering", "layering_of", "parse_groups", "planner"]


STRATEGIES: Final = ("auto", "explicit", "pipeline", "popularity", "stable")
"""The names of the strategies."""


def planner(strategy: str) -> Planner:
    """Return the planner of `strategy`; raise LayeringError if there is no such strategy."""
    _check_strategy(strategy, "strategy")
    # Only the one that plans is loaded: planners have much code, and resolved specs have a plan.
    match strategy:
        case "auto":
            from nixdock.layering.auto import plan_auto  # noqa: PLC0415

            return plan_auto
        case "pipeline":
            from nixdock.layering.pipeline.planning import plan_by_pipeline  # noqa: PLC0415

            return plan_by_pipeline
        case "popularity":
            from nixdock.layering.popularity import plan_by_popularity  # noqa: PLC0415

            return plan_by_popularity
        case "stable":
            from nixdock.layering.stable import plan_stable  # noqa: PLC0415

            return plan_stable
        case _:
            return _plan_explicit


def _plan_explicit(
    closure: Closure, budget: int, options: LayeringOptions = DEFAULT_OPTIONS, /
) -> LayerPlan:
    if options.rest == "explicit":
        raise LayeringError(
            "rest can't be 'explicit': choose the strategy for the paths outside the groups",
            key="rest",
        )
    from nixdock.layering.explicit import plan_explicit  # noqa: PLC0415 (as above)

    return plan_explicit(closure, budget, options, planner(options.rest))


class Layering(Struct, frozen=True):
    """A strategy with its options."""

    strategy: str = DEFAULT_STRATEGY
    options: LayeringOptions = DEFAULT_OPTIONS

    def budget(
        self, max_layers: int, base_layers: int = 0, top_layers: int = 1, *, most_layers: int
    ) -> int:
        """Return the greatest number of store layers; raise PlanError if there is no room for one.

        `most_layers` is the limit of container runtimes. A pipeline sets its own number of layers,
        so only that limit applies to it.
        """
        max_layers = most_layers if self.strategy == "pipeline" else min(max_layers, most_layers)
        return store_layer_budget(max_layers, base_layers, top_layers)

    def plan(self, closure: Closure, budget: int) -> LayerPlan:
        """Return the plan of `closure`, with at most `budget` layers."""
        return planner(self.strategy)(closure, budget, self.options.for_closure(closure))


def layering_of(
    strategy: str = DEFAULT_STRATEGY,
    *,
    volatile: Iterable[str] = (),
    previous: Sequence[PreviousPlan] = (),
    groups: Sequence[Any] = (),
    rest: str = DEFAULT_STRATEGY,
    pipeline: Any = None,
) -> Layering:
    """Return the layering with the given options, which are as in JSON.

    `previous` are the plans of images that clients may have, the newest first. A group is a list of
    store paths, or an object with `paths`, `closure_of` or both. A `pipeline` is dockerTools'
    `layeringPipeline`. Raise LayeringError, with the key, if an option is not
    valid.
    """
    _check_strategy(strategy, "strategy")
    _check_strategy(rest, "rest")
    return Layering(
        strategy,
        LayeringOptions(
            volatile=frozenset(_store_paths(list(volatile), "volatile")),
            previous=previous[0] if previous else None,
            older=tuple(previous[1:]),
            groups=parse_groups(groups),
            rest=rest,
            pipeline=None if pipeline is None else _parsed_pipeline(pipeline),
        ),
    )


def _parsed_pipeline(document: Any) -> tuple[Operation, ...]:
    from nixdock.layering.pipeline.parse import parse_pipeline  # noqa: PLC0415 (few images need it)

    return parse_pipeline(document)


def _check_strategy(name: str, key: str) -> None:
    if name not in STRATEGIES:
        names = ", ".join(STRATEGIES)
        raise LayeringError(f"there is no layering strategy {name!r}; choose from {names}", key=key)


def parse_groups(groups: object, place: str = "groups") -> tuple[Group, ...]:
    """Return the groups for `explicit`; raise LayeringError, with the key, if one is not valid."""
    if not isinstance(groups, Sequence) or isinstance(groups, str):
        raise LayeringError(f"{place}: must be a list of groups, not {groups!r}", key=place)
    return tuple(_group(group, f"{place}[{i}]") for i, group in enumerate(groups))


def _group(group: object, place: str) -> Group:
    if isinstance(group, Mapping):
        if unknown := sorted(group.keys() - {"paths", "closure_of"}):
            raise LayeringError(
                f"{place}: unknown key {unknown[0]!r}; the keys are paths and closure_of", key=place
            )
        return Group(
            _store_paths(group.get("paths", []), f"{place}.paths"),
            _store_paths(group.get("closure_of", []), f"{place}.closure_of"),
        )
    return Group(paths=_store_paths(group, place))


def _store_paths(values: object, place: str) -> tuple[StorePath, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise LayeringError(f"{place}: must be a list of store paths, not {values!r}", key=place)
    paths = []
    for i, value in enumerate(values):
        try:
            paths.append(StorePath.parse(value))
        except InputError as error:
            key = f"{place}[{i}]"
            raise LayeringError(f"{key}: {error}", key=key) from None
    return tuple(paths)
