"""The pipeline strategy's planner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixdock.errors import LayeringError, PlanError
from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.pipeline.graph import Graph, address, graphs_of
from nixdock.layering.pipeline.operations import Operation
from nixdock.layering.plan import LayerPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nixdock.layering.pipeline.graph import Data
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["plan_by_pipeline", "trace"]


def plan_by_pipeline(
    closure: Closure, budget: int, options: LayeringOptions = DEFAULT_OPTIONS, /
) -> LayerPlan:
    """Run the pipeline of the options; raise PlanError if it makes more than `budget` layers.

    The paths that the pipeline leaves out are the plan's `removed`.
    """
    data: Data = Graph.of(closure)
    for _operation, after in _steps(data, operations_of(options)):
        data = after
    layers = [graph.nodes for graph in graphs_of(data) if graph.nodes]
    if len(layers) > budget:
        raise PlanError(
            f"the pipeline makes {len(layers)} store layers, but there is room for {budget}:"
            f' end it with ["flatten"], ["limit_layers", {budget}]'
        )
    left = {path for layer in layers for path in layer}
    removed = frozenset(path for path in closure.infos if path not in left)
    return LayerPlan.of(closure, layers, removed=removed)


def operations_of(options: LayeringOptions) -> Sequence[Operation]:
    """Return the pipeline of the options; raise LayeringError if there is none."""
    if options.pipeline is None:
        raise LayeringError(
            "the strategy 'pipeline' needs a pipeline: give a list of operations", key="pipeline"
        )
    return options.pipeline


def trace(closure: Closure, options: LayeringOptions, path: StorePath) -> Iterator[str]:
    """Yield a sentence for each operation that moves `path`, for people."""
    before = "the graph"
    for operation, data in _steps(Graph.of(closure), operations_of(options)):
        place = address(data, path)
        if place is None:
            yield f"{operation.place} removes it"
            return
        if place != before:
            yield f"{operation.place} puts it into {place}"
        before = place


def _steps(data: Data, operations: Sequence[Operation]) -> Iterator[tuple[Operation, Data]]:
    for operation in operations:
        try:
            data = operation.apply(data)
        except RecursionError:
            raise LayeringError(
                f"{operation.place}: the pipeline is nested too deeply", key=operation.place
            ) from None
        yield operation, data
