"""The reasons why a path is in its layer, as sentences for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from nixdock.errors import ClosureError
from nixdock.layering.auto import split_by_primaries
from nixdock.layering.explicit import contract, group_layers, options_for_rest
from nixdock.layering.pipeline.planning import trace
from nixdock.layering.plan import PlannedLayer
from nixdock.layering.reach import Reach, name_then_path
from nixdock.layering.strategies import Layering
from nixdock.system.text import counted, listed

if TYPE_CHECKING:
    from nixdock.layering.options import LayeringOptions
    from nixdock.layering.plan import LayerPlan
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["Explanation", "explain"]

_MOST_NAMED: Final = 3


class Explanation(Struct, frozen=True):
    """The layer of a path, and the reasons for it.

    `layer` counts from 1, at the bottom; it is None if the path is left out of the image.
    `changed_by` is the number of paths whose change rebuilds the path, itself included, and
    `layer_changed_by` is the same number for its layer.
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
    """Explain the layer of `path` in `plan`, which `layering` made of `closure` within `budget`.

    Raise ClosureError if `path` is not in the closure.
    """
    if path not in closure:
        raise ClosureError(f"{path} is not in the closure, so it is in no layer", path=path)
    reach = Reach(closure)
    number, layer = next(
        ((n, layer) for n, layer in enumerate(plan.layers, 1) if path in layer.paths),
        (None, PlannedLayer((), 0)),
    )
    options = layering.options.for_closure(closure)
    previous = () if options.previous is None else (options.previous, *options.older)
    question = _Question(path, layer.paths, closure, previous)
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


class _Question(Struct, frozen=True):
    """The path to explain and the paths of its layer, in the whole closure.

    `explicit` plans part of the closure by another strategy; the question stays the same then.
    """

    path: StorePath
    layer: tuple[StorePath, ...]
    closure: Closure
    previous: tuple[PreviousPlan, ...]


def _reasons(
    closure: Closure, budget: int, layering: Layering, question: _Question
) -> Iterator[str]:
    path, options = question.path, layering.options
    match layering.strategy:
        case "popularity":
            yield from _reasons_of_popularity(closure, budget, path)
        case "auto":
            yield from _reasons_of_auto(closure, budget, path)
        case "explicit":
            yield from _reasons_of_explicit(closure, budget, options, question)
        case "pipeline":
            yield from trace(closure, options, path)
        case _:
            yield from _reasons_of_history(question)
            yield from _reasons_of_cost(closure, budget, options, path)


def _enough_layers(closure: Closure) -> str:
    return f"there are enough layers to give each of the {len(closure)} paths its own"


def _reasons_of_popularity(closure: Closure, budget: int, path: StorePath) -> Iterator[str]:
    # One strategy's.
    from nixdock.layering.ranking import popularity_ranking, score_text  # noqa: PLC0415

    ranking = popularity_ranking(closure)
    rank, score = next((i, s) for i, (p, s) in enumerate(ranking, 1) if p == path)
    place = f"number {rank} of {len(ranking)}"
    yield f"it is {place} by popularity, with a score of {score_text(score)}"
    if len(ranking) <= budget:
        yield _enough_layers(closure)
    elif budget == 1:
        yield "all paths share the only layer"
    elif rank < budget:
        yield f"the {budget - 1} most popular paths have a layer each"
    else:
        yield f"only the {budget - 1} most popular paths have a layer each; the others share one"


def _reasons_of_auto(closure: Closure, budget: int, path: StorePath) -> Iterator[str]:
    if len(closure) <= budget:
        yield _enough_layers(closure)
        return
    reach = Reach(closure)
    own = reach.bits([path])
    split = split_by_primaries(reach, budget)
    claimants = next(claimants for claimants, members in split.items() if members & own)
    # Every primary claims at least itself.
    primaries = 0
    for bits in split:
        primaries |= bits
    count = primaries.bit_count()
    if claimants == own:
        yield f"it is one of the {count} largest paths, each of which starts a layer"
        return
    yield f"each of the {count} largest paths starts a layer, and it is not one of these"
    if claimants:
        names = _names_of([*reach.paths(claimants)])
        verb = "refers" if claimants.bit_count() == 1 else "refer"
        yield f"of these, {names} {verb} to it most directly"
        yield "paths that the same ones refer to most directly share a layer"
    else:
        yield "none of these refers to it; all such paths share a layer"


def _reasons_of_explicit(
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
            yield f"it is in the closure of {_names_of(roots)}, which group {number} names"
            return
    grouped = frozenset(p for layer in layers for p in layer)
    left = budget - sum(1 for layer in layers if layer)
    yield "it is in no group"
    yield f"{options.rest!r} plans the paths outside the groups, within {counted(left, 'layer')}"
    rest = contract(closure, grouped)
    layering = Layering(options.rest, options_for_rest(options, grouped))
    yield from _reasons(rest, left, layering, question)


def _reasons_of_cost(
    closure: Closure, budget: int, options: LayeringOptions, path: StorePath
) -> Iterator[str]:
    # One strategy's, and slow to load.
    from nixdock.layering.fresh import large_size  # noqa: PLC0415
    from nixdock.layering.top import top_depths, top_paths  # noqa: PLC0415

    if len(closure) <= budget and options.previous is None:
        yield _enough_layers(closure)
        return
    sizes = [info.nar_size for info in closure]
    size = closure[path].nar_size
    yield f"it is number {sum(1 for s in sizes if s > size) + 1} of {len(sizes)} by size"
    reach = Reach(closure)
    volatile = frozenset(p for p in options.volatile if p in closure)
    at_top = path in top_paths(reach, top_depths(reach, volatile), volatile)
    if path in volatile:
        yield "it is declared volatile"
    elif at_top:
        yield "it is at the top of the image, so it is expected to change with the app"
    if options.previous is not None:
        return
    if size >= large_size(sizes, budget):
        yield "it is large enough to have a layer of its own"
    elif not at_top:
        yield "it is small, so it is in the layer where it is expected to add least to updates"


def _reasons_of_history(question: _Question) -> Iterator[str]:
    if not question.previous:
        return
    is_single = len(question.previous) == 1
    places = [
        ("the previous plan" if is_single else f"previous plan {age}", number, old)
        for age, plan in enumerate(question.previous, 1)
        for number, old in enumerate(plan.layers, 1)
        if question.path in old
    ]
    if not places:
        plans = "the previous plan" if is_single else "any previous plan"
        yield f"it is not in {plans}: it is new, or it was rebuilt"
        return
    same = [place for place in places if set(place[2]) == set(question.layer)]
    plan, number, old = [*same, *places][0]
    if same:
        yield f"its layer is layer {number} of {plan}, unchanged"
    elif gone := [p for p in old if p not in question.closure]:
        verb = "is" if len(gone) == 1 else "are"
        yield (
            f"it was in layer {number} of {plan}, which can't be kept:"
            f" {_names_of(gone)} {verb} no longer in the closure"
        )
    else:
        yield (
            f"it was in layer {number} of {plan}, which was split up to make room for other paths"
            + ("" if is_single else ", or for a layer that as many previous images have")
        )


def _names_of(paths: list[StorePath]) -> str:
    names = [path.name for path in sorted(paths, key=name_then_path)]
    return listed(names, _MOST_NAMED)
