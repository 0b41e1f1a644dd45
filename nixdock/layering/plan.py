"""The layer plan: a partition of a closure into the store layers of an image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from nixdock.errors import PlanError

if TYPE_CHECKING:
    from nixdock.layering.options import LayeringOptions
    from nixdock.layering.plan_history import PlanHistory
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["LayerPlan", "PlannedLayer", "Planner", "store_layer_budget"]


class PlannedLayer(Struct, frozen=True):
    """The store paths of one layer, in the order in which they are packed."""

    paths: tuple[StorePath, ...]
    nar_size: int


class LayerPlan(Struct, frozen=True):
    """The store layers of an image, bottom to top; `removed` paths are left out of the image."""

    layers: tuple[PlannedLayer, ...]
    removed: frozenset[StorePath] = frozenset()
    history: PlanHistory | None = None

    @classmethod
    def of(
        cls,
        closure: Closure,
        groups: Iterable[Iterable[StorePath]],
        removed: frozenset[StorePath] = frozenset(),
    ) -> LayerPlan:
        """Return the plan with `groups` as its layers.

        Raise AssertionError if `groups` and `removed` are not a partition of `closure`, or if a
        group is empty.
        """
        layers = tuple(
            PlannedLayer(paths, sum(closure[path].nar_size for path in paths))
            for paths in map(tuple, groups)
        )
        planned = [*removed, *(path for layer in layers for path in layer.paths)]
        if len(planned) != len(closure) or set(planned) != set(closure.infos):
            raise AssertionError("the plan is not a partition of the closure")
        if not all(layer.paths for layer in layers):
            raise AssertionError("the plan has an empty layer")
        return cls(layers, removed)


class Planner(Protocol):
    """A layering strategy: a pure function of the closure, the number of layers and the options."""

    def __call__(
        self, closure: Closure, budget: int, options: LayeringOptions = ..., /
    ) -> LayerPlan:
        """Return a plan of at most `budget` layers."""


def store_layer_budget(max_layers: int, base_layers: int = 0, top_layers: int = 1) -> int:
    """Return how many store layers fit into an image of `max_layers` layers in total.

    Raise PlanError if the base image and the layers on top leave no room for one.
    """
    budget = max_layers - base_layers - top_layers
    if budget < 1:
        base = f"{base_layers} of the base image and " if base_layers else ""
        top = "the top layer" if top_layers == 1 else f"{top_layers} layers on top"
        verb = "leaves" if top_layers == 1 and not base_layers else "leave"
        raise PlanError(
            f"max_layers is {max_layers}, but {base}{top} {verb} no room for a store layer:"
            f" at least {base_layers + top_layers + 1} layers are needed",
            key="max_layers",
        )
    return budget
