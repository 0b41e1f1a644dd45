"""Why a path is in its layer, told for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from nixdock.errors import ClosureError
from nixdock.layering.auto import split_by_primaries
from nixdock.layering.explicit import contracted, group_layers, options_for_rest
from nixdock.layering.pipeline.planning import trace
from nixdock.layering.plan import PlannedLayer
from nixdock.layering.reach import Reach, name_then_path
from nixdock.layering.strategies import Layering
from nixdock.system.text import listed

if TYPE_CHECKING:
    from nixdock.layering.options import LayeringOptions
    from nixdock.layering.plan import LayerPlan
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["Explanation", "explain"]

_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a path is and why; `layer` counts from 1, at the bottom, and is None if it is removed.

    `changed_by` is how many paths rebuild it when they change, itself among them, and
    `layer_changed_by` the same for its layer.
    """

    path: StorePath
    nar_size: int
    layer: int | None
    layers: int
    layer_paths: int
    layer_nar_size: int
    changed_by: int
    layer_changed_by: int
    reasons: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return asdict(self)


def explain(
    closure: Closure, plan: LayerPlan, layering: Layering, budget: int, path: StorePath
) -> Explanation:
    """Tell why `path` is where it is in `plan`, which `layering` made of `closure`.

    Raise PlanError if the closure doesn't have it.
    """
    if path not in closure:
        raise ClosureError(f"{path} is not in the closure, so it is in no layer", path=path)
    reach = Reach(closure)
    number, layer = next(
        ((n, layer) for n, layer in enumerate(plan.layers, 1) if path in layer.paths),
        (None, PlannedLayer((), 0)),
    )
    question = _Question(path, layer.paths, closure, layering.options.previous)
    return Explanation(
        path=path,
        nar_size=closure[path].nar_size,
        layer=number,
        layers=len(plan.layers),
        layer_paths=len(layer.paths),
        layer_nar_size=layer.nar_size,
        changed_by=reach.cone([path]).bit_count(),
        layer_changed_by=reach.cone(layer.paths).bit_count(),
        reasons=tuple(_reasons(closure, budget, layering, question)),
    )


@dataclass(frozen=True, slots=True)
class _Question:
    """The path that is asked about, the paths of its layer, and what the whole plan is made of."""

    path: StorePath
    layer: tuple[StorePath, ...]
    closure: Closure
    previous: PreviousPlan | None


def _reasons(
    closure: Closure, budget: int, layering: Layering, question: _Question
) -> Iterator[str]:
    path, options = question.path, layering.options
    match layering.strategy:
        case "popularity":
            yield from _by_popularity(closure, budget, path)
        case "auto":
            yield from _by_primaries(closure, budget, path)
        case "explicit":
            yield from _by_groups(closure, budget, options, question)
        case "pipeline":
            yield from trace(closure, options, path)
        case _:
            yield from _by_history(question)
            yield from _by_cost(closure, budget, options, path)


def _by_popularity(closure: Closure, budget: int, path: StorePath) -> Iterator[str]:
    from nixdock.layering.ranking import by_popularity  # noqa: PLC0415 (one strategy's)

    ranked = by_popularity(closure)
    rank, score = next((i, s) for i, (p, s) in enumerate(ranked, 1) if p == path)
    yield f"it is number {rank} of {len(ranked)} by popularity, with a score of {score}"
    if len(ranked) <= budget:
        yield f"there is a layer for each of the {len(ranked)} paths"
    elif rank < budget:
        yield f"the {budget - 1} most popular paths have a layer each"
    else:
        yield f"only the {budget - 1} most popular paths have a layer each; the others share one"


def _by_primaries(closure: Closure, budget: int, path: StorePath) -> Iterator[str]:
    reach = Reach(closure)
    if len(closure) <= budget:
        yield f"there is a layer for each of the {len(closure)} paths"
        return
    own = reach.bits([path])
    split = split_by_primaries(reach, budget)
    claimants = next(claimed for claimed, members in split.items() if members & own)
    primaries = 0
    for claimed in split:
        primaries |= claimed
    count = primaries.bit_count()
    if claimants == own:
        yield f"it is one of the {count} largest paths, which split the closure"
    elif claimants:
        names = _named([*reach.paths(claimants)])
        yield f"of the {count} largest paths, which split the closure, it is with {names}"
        yield "what the same ones of these use, most directly, shares a layer"
    else:
        yield f"none of the {count} largest paths, which split the closure, uses it"


def _by_groups(
    closure: Closure, budget: int, options: LayeringOptions, question: _Question
) -> Iterator[str]:
    path = question.path
    layers = group_layers(closure, options.groups)
    for number, (group, layer) in enumerate(zip(options.groups, layers, strict=True), 1):
        if path in layer:
            if path in group.paths:
                yield f"group {number} names it"
                return
            reach = Reach(closure)
            users = reach.users([path])
            roots = [r for r in group.closure_of if r in closure and reach.bits([r]) & users]
            yield f"group {number} has the closure of {_named(roots)}"
            return
    grouped = frozenset(p for layer in layers for p in layer)
    left = budget - sum(1 for layer in layers if layer)
    yield f"no group has it; what they leave is planned by {options.rest!r} in {left} layers"
    rest = contracted(closure, grouped)
    layering = Layering(options.rest, options_for_rest(options, grouped))
    yield from _reasons(rest, left, layering, question)


def _by_cost(
    closure: Closure, budget: int, options: LayeringOptions, path: StorePath
) -> Iterator[str]:
    # It is one strategy's, and much to load.
    from nixdock.layering.fresh import large_size  # noqa: PLC0415
    from nixdock.layering.top import top_depths, top_paths  # noqa: PLC0415

    if len(closure) <= budget and options.previous is None:
        yield f"there is a layer for each of the {len(closure)} paths"
        return
    sizes = [info.nar_size for info in closure]
    size = closure[path].nar_size
    yield f"it is number {sum(1 for s in sizes if s > size) + 1} of {len(sizes)} by size"
    reach = Reach(closure)
    volatile = frozenset(p for p in options.volatile if p in closure)
    in_top = path in top_paths(reach, top_depths(reach, volatile), volatile)
    if path in volatile:
        yield "it is declared volatile"
    elif in_top:
        yield "it is at the top of the image, and so expected to change with the app"
    if options.previous is not None:
        return
    if size >= large_size(sizes, budget):
        yield "it is so large that it has a layer of its own"
    elif not in_top:
        yield "it is small, and where it adds least to what updates are expected to transfer"


def _by_history(question: _Question) -> Iterator[str]:
    if question.previous is None:
        return
    found = [
        (number, old)
        for number, old in enumerate(question.previous.layers, 1)
        if question.path in old
    ]
    if not found:
        yield "the previous plan does not have it: it is new, or it was rebuilt"
        return
    number, old = found[0]
    if set(old) == set(question.layer):
        yield f"its layer is layer {number} of the previous plan, kept as it was"
    elif gone := [p for p in old if p not in question.closure]:
        are = "is" if len(gone) == 1 else "are"
        yield (
            f"it was in layer {number} of the previous plan, which broke: {_named(gone)} {are} gone"
        )
    else:
        yield f"it was in layer {number} of the previous plan, which had to make room"


def _named(paths: list[StorePath]) -> str:
    names = [path.name for path in sorted(paths, key=name_then_path)]
    return listed(names, _MOST_NAMED)
