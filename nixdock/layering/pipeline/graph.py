"""The data of a pipeline: graphs, lists of graphs, and graphs by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias, Union

from msgspec import Struct

from nixdock.layering.reach import name_then_path
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["Data", "Graph", "address", "graphs_of", "kind_of"]

Data: TypeAlias = Union["Graph", list["Data"], dict[str, "Data"]]


class Graph(Struct, frozen=True):
    """A part of the closure: store paths, smallest first, and the references among them.

    `nodes` and `members` are the same paths, as a sequence and as a set. `references` may contain
    other paths, which are ignored.
    """

    closure: Closure
    nodes: tuple[StorePath, ...]
    members: frozenset[StorePath]
    references: Mapping[StorePath, Collection[StorePath]]

    @classmethod
    def of(cls, closure: Closure) -> Graph:
        """Return the graph of the whole closure; equal sizes are sorted by name before hash."""
        infos = sorted(closure, key=lambda info: (info.nar_size, name_then_path(info.path)))
        nodes = tuple(info.path for info in infos)
        references = {info.path: info.references for info in infos}
        return cls(closure, nodes, frozenset(nodes), references)

    @classmethod
    def merged(cls, graphs: Sequence[Graph]) -> Graph:
        """Return one graph with the members of all `graphs`, in their order.

        References between the graphs are lost, as in dockerTools.
        """
        if len(graphs) == 1:
            return graphs[0]
        nodes = tuple(chain.from_iterable(graph.nodes for graph in graphs))
        references = {node: graph.references_of(node) for graph in graphs for node in graph.nodes}
        return cls(graphs[0].closure, nodes, frozenset(nodes), references)

    def references_of(self, node: StorePath) -> list[StorePath]:
        """Return the members that a member refers to, except itself."""
        return [r for r in self.references.get(node, ()) if r in self.members and r != node]

    def part(self, members: Collection[StorePath]) -> Graph:
        """Return the graph of these members."""
        nodes = tuple(node for node in self.nodes if node in members)
        return Graph(self.closure, nodes, frozenset(nodes), self.references)

    def split(self, paths: Iterable[StorePath]) -> dict[str, Graph]:
        """Return the members in three parts, without empty ones.

        `main` are `paths` and the paths that only they reach, `common` the paths that others reach
        too, and `rest` all others.
        """
        chosen = self.members.intersection(paths)
        if not chosen:
            return {"rest": self}
        main = self.below(chosen)
        used = {reference for node in self.nodes for reference in self.references_of(node)}
        roots = [node for node in self.nodes if node not in used and node not in chosen]
        rest = self.below(roots, without=chosen)
        parts = {"main": main - rest, "common": main & rest, "rest": rest - main}
        return {name: self.part(members) for name, members in parts.items() if members}

    def below(
        self, start: Iterable[StorePath], without: Collection[StorePath] = ()
    ) -> set[StorePath]:
        """Return `start` and all paths that it reaches without passing through `without`."""
        reached = set(start)
        waiting = list(reached)
        while waiting:
            for reference in self.references_of(waiting.pop()):
                if reference not in reached and reference not in without:
                    reached.add(reference)
                    waiting.append(reference)
        return reached

    def above(self, start: Iterable[StorePath]) -> set[StorePath]:
        """Return `start` and all paths that reach it."""
        users: dict[StorePath, list[StorePath]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for reference in self.references_of(node):
                users[reference].append(node)
        reached = set(start)
        waiting = list(reached)
        while waiting:
            for user in users[waiting.pop()]:
                if user not in reached:
                    reached.add(user)
                    waiting.append(user)
        return reached

    def children(self, paths: Iterable[StorePath]) -> set[StorePath]:
        """Return the members to which members among `paths` refer directly."""
        return {r for path in paths if path in self.members for r in self.references_of(path)}

    def popularity_ranking(self) -> list[StorePath]:
        """Return the members, most popular within this graph first."""
        from nixdock.layering.ranking import popularity_ranking  # noqa: PLC0415 (few pipelines rank)
        from nixdock.nix.closure import Closure, PathInfo  # noqa: PLC0415 (the closure's own loads it)

        infos = {
            node: PathInfo(node, references=tuple(sorted(self.references_of(node))))
            for node in sorted(self.nodes)
        }
        return [path for path, _ in popularity_ranking(Closure(infos))]


def graphs_of(data: Data) -> Iterator[Graph]:
    """Yield the graphs in order, however deeply they are nested."""
    waiting: list[Iterator[Data]] = [iter([data])]
    while waiting:
        item = next(waiting[-1], None)
        if item is None:
            waiting.pop()
        elif isinstance(item, Graph):
            yield item
        else:
            waiting.append(iter(item.values() if isinstance(item, dict) else item))


def address(data: Data, path: StorePath) -> str | None:
    """Return a text for people that tells where in `data` a path is, or None if it is nowhere."""
    waiting: list[tuple[str, Data]] = [("", data)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, Graph):
            if path in item.members:
                more = len(item.nodes) - 1
                company = f"with {counted(more, 'other')}" if more else "alone"
                return f"{place.removeprefix('.') or 'the graph'}, {company}"
        elif isinstance(item, dict):
            waiting += [(f"{place}.{name}", part) for name, part in item.items()]
        else:
            waiting += [(f"{place}[{i}]", part) for i, part in enumerate(item)]
    return None


def kind_of(data: Data) -> str:
    """Return a noun for the kind of `data`, for messages."""
    if isinstance(data, Graph):
        return "a graph"
    if isinstance(data, dict):
        return f"graphs by name ({', '.join(data)})"
    if any(isinstance(item, dict | list) for item in data):
        return "a list that holds lists or graphs by name"
    return "a list of graphs"
