"""The operations of a pipeline: functions of their place in it, the data and their arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct

from nixdock.errors import LayeringError
from nixdock.layering.pipeline.graph import Data, Graph, graphs_of, kind_of

if TYPE_CHECKING:
    from nixdock.nix.store_path import StorePath

__all__ = ["Operation", "Paths"]


class Operation(Struct, frozen=True):
    """An operation with its checked arguments; `place` is its key in the pipeline."""

    place: str
    run: Callable[..., Data]
    arguments: tuple[Any, ...] = ()

    def apply(self, data: Data) -> Data:
        """Apply the operation to `data`; raise LayeringError if it takes another kind."""
        return self.run(self.place, data, *self.arguments)


class Paths(Struct, frozen=True):
    """The store paths that an argument names, or the direct references of these paths."""

    names: tuple[StorePath, ...]
    children_of: bool = False

    def within(self, graph: Graph) -> Collection[StorePath]:
        """Return the paths that are in `graph`; a path that has left the closure is no mistake."""
        if self.children_of:
            return graph.children(self.names)
        return graph.members.intersection(self.names)


def pipe(_place: str, data: Data, operations: Sequence[Operation]) -> Data:
    """Apply the operations one after another."""
    for operation in operations:
        data = operation.apply(data)
    return data


def over(place: str, data: Data, key: str, operation: Operation) -> Data:
    """Apply the operation to the data named `key`, if there is any."""
    parts = _parts(place, data)
    return {name: operation.apply(d) if name == key else d for name, d in parts.items()}


def map_(place: str, data: Data, operation: Operation) -> Data:
    """Apply the operation to each item of a list."""
    return [operation.apply(item) for item in _list(place, data)]


def flatten(_place: str, data: Data) -> Data:
    """Make one list of all graphs."""
    return list(graphs_of(data))


def split_paths(place: str, data: Data, paths: Paths) -> Data:
    """Split off the paths and those that only they reach."""
    graph = _graph(place, data)
    return dict(graph.split(paths.within(graph)))


def subcomponent_out(place: str, data: Data, paths: Paths) -> Data:
    """Split off the paths with their direct and indirect references."""
    graph = _graph(place, data)
    return _main_and_rest(graph, graph.below(paths.within(graph)))


def subcomponent_in(place: str, data: Data, paths: Paths) -> Data:
    """Split off the paths with their direct and indirect referrers."""
    graph = _graph(place, data)
    return _main_and_rest(graph, graph.above(paths.within(graph)))


def _main_and_rest(graph: Graph, main: set[StorePath]) -> Data:
    return {"main": graph.part(main), "rest": graph.part(graph.members - main)}


def popularity_contest(place: str, data: Data) -> Data:
    """Make a list of graphs of one path each, most popular first."""
    graph = _graph(place, data)
    return [_chunk(graph, (path,)) for path in graph.popularity_ranking()]


def split_every(place: str, data: Data, count: int) -> Data:
    """Make a list of graphs of `count` paths each."""
    graph = _graph(place, data)
    starts = range(0, len(graph.nodes), count)
    return [_chunk(graph, graph.nodes[start : start + count]) for start in starts]


def _chunk(graph: Graph, nodes: tuple[StorePath, ...]) -> Graph:
    return Graph(graph.closure, nodes, frozenset(nodes), graph.references)


def limit_layers(place: str, data: Data, count: int) -> Data:
    """Merge all graphs from the `count`th on into one."""
    graphs = _list(place, data)
    if not all(isinstance(item, Graph) for item in graphs):
        raise _mismatch(place, "a list of graphs", data)
    if len(graphs) <= count:
        return graphs
    last = Graph.merged(cast("list[Graph]", graphs[count - 1 :]))
    return [*graphs[: count - 1], last]


def remove_paths(place: str, data: Data, paths: Paths) -> Data:
    """Leave the paths out of the image."""
    graph = _graph(place, data)
    return graph.part(graph.members.difference(paths.within(graph)))


def reverse(place: str, data: Data) -> Data:
    """Reverse a list."""
    return _list(place, data)[::-1]


def reorder(place: str, data: Data, keys: Sequence[str]) -> Data:
    """Put graphs by name into the order of `keys`, and the others after them."""
    parts = _parts(place, data)
    order = [key for key in dict.fromkeys([*keys, *parts]) if key in parts]
    return {key: parts[key] for key in order}


_HINTS: Final = {
    ("a graph", "list"): "use map to apply it to each of them",
    ("a graph", "dict"): "use over to apply it to one of them",
    ("a list", "dict"): "use flatten first",
    ("a list", "Graph"): "use popularity_contest, split_every or flatten first",
    ("a list of graphs", "list"): "use flatten first",
    ("graphs by name", "list"): "use map to apply it to each of them",
    ("graphs by name", "Graph"): "use split_paths or a subcomponent first",
}


def _mismatch(place: str, wanted: str, data: Data) -> LayeringError:
    hint = _HINTS[wanted, type(data).__name__]
    return LayeringError(f"{place}: takes {wanted}, but gets {kind_of(data)}; {hint}", key=place)


def _graph(place: str, data: Data) -> Graph:
    if not isinstance(data, Graph):
        raise _mismatch(place, "a graph", data)
    return data


def _list(place: str, data: Data) -> list[Data]:
    if not isinstance(data, list):
        raise _mismatch(place, "a list", data)
    return data


def _parts(place: str, data: Data) -> dict[str, Data]:
    if not isinstance(data, dict):
        raise _mismatch(place, "graphs by name", data)
    return data
