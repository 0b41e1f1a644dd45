"""The pipeline strategy: dockerTools' language for layerings.

A pipeline is a list of operations, each of them a list of its name and its arguments. The closure
flows through them: an operation takes a graph apart into graphs by name or into a list of graphs,
or goes into the parts that others made; the graphs that come out at the end are the layers. So a
pipeline says exactly what shares a layer, and how many layers there are, whatever the budget.

What comes out is what dockerTools makes of the same pipeline, layers that would be empty left
out. Where dockerTools fails because of a path that has left the closure, or as the pipeline ends
with a single graph, the sense of it is taken; what is plainly wrong is an error that says where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixdock.errors import PlanError
from nixdock.layering.options import DEFAULT_OPTIONS, LayeringOptions
from nixdock.layering.pipeline.graph import Graph, address, graphs_of
from nixdock.layering.pipeline.operations import Operation
from nixdock.layering.pipeline.parse import parse_pipeline, read_pipeline
from nixdock.layering.plan import LayerPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nixdock.closure import Closure
    from nixdock.layering.pipeline.graph import Data
    from nixdock.store_path import StorePath

__all__ = ["Operation", "parse_pipeline", "plan_by_pipeline", "read_pipeline", "trace"]


def plan_by_pipeline(
    closure: Closure, budget: int, options: LayeringOptions = DEFAULT_OPTIONS, /
) -> LayerPlan:
    """Run the options' pipeline; raise PlanError when it makes more than `budget` layers.

    What the pipeline removed is in the plan's `removed`.
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
    """Return the options' pipeline; raise PlanError if there is none."""
    if options.pipeline is None:
        raise PlanError("the strategy 'pipeline' needs a pipeline: give a list of operations")
    return options.pipeline


def trace(closure: Closure, options: LayeringOptions, path: StorePath) -> Iterator[str]:
    """Yield where `path` is after each operation, for people."""
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
            raise PlanError(f"{operation.place}: is nested too deeply") from None
        yield operation, data
