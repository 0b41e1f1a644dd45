"""What flows through a pipeline: graphs, lists of them, and graphs by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias, Union

from nixdock.layering.reach import name_then_path

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["Data", "Graph", "address", "described", "graphs_of"]

Data: TypeAlias = Union["Graph", list["Data"], dict[str, "Data"]]


@dataclass(frozen=True)
class Graph:
    """A part of the closure: store paths, smallest first, and who refers to whom among them.

    `references` may hold more than the members: what is no member does not count.
    """

    closure: Closure
    nodes: tuple[StorePath, ...]
    members: frozenset[StorePath]
    references: Mapping[StorePath, Collection[StorePath]]

    @classmethod
    def of(cls, closure: Closure) -> Graph:
        """Return the whole closure; of equal sizes, the name decides before the hash."""
        infos = sorted(closure, key=lambda info: (info.nar_size, name_then_path(info.path)))
        nodes = tuple(info.path for info in infos)
        references = {info.path: info.references for info in infos}
        return cls(closure, nodes, frozenset(nodes), references)

    @classmethod
    def merged(cls, graphs: Sequence[Graph]) -> Graph:
        """Return one graph of several, with the members in their order.

        References from one graph to another are lost, as they are in dockerTools.
        """
        if len(graphs) == 1:
            return graphs[0]
        nodes = tuple(chain.from_iterable(graph.nodes for graph in graphs))
        references = {node: graph.references_of(node) for graph in graphs for node in graph.nodes}
        return cls(graphs[0].closure, nodes, frozenset(nodes), references)

    def references_of(self, node: StorePath) -> list[StorePath]:
        """Return what a member refers to, itself left out."""
        return [r for r in self.references.get(node, ()) if r in self.members and r != node]

    def part(self, members: Collection[StorePath]) -> Graph:
        """Return the graph of some of the members."""
        nodes = tuple(node for node in self.nodes if node in members)
        return Graph(self.closure, nodes, frozenset(nodes), self.references)

    def split(self, paths: Iterable[StorePath]) -> dict[str, Graph]:
        """Part off `paths` and what only they reach; `common` is what others reach, too."""
        split_off = self.members.intersection(paths)
        if not split_off:
            return {"rest": self}
        main = self.below(split_off)
        used = {reference for node in self.nodes for reference in self.references_of(node)}
        roots = [node for node in self.nodes if node not in used and node not in split_off]
        rest = self.below(roots, never=split_off)
        parts = {"main": main - rest, "common": main & rest, "rest": rest - main}
        return {name: self.part(members) for name, members in parts.items() if members}

    def below(
        self, start: Iterable[StorePath], never: Collection[StorePath] = ()
    ) -> set[StorePath]:
        """Return `start` and all that it reaches without passing through `never`."""
        found = set(start)
        waiting = list(found)
        while waiting:
            for reference in self.references_of(waiting.pop()):
                if reference not in found and reference not in never:
                    found.add(reference)
                    waiting.append(reference)
        return found

    def above(self, start: Iterable[StorePath]) -> set[StorePath]:
        """Return `start` and all that reaches it."""
        users: dict[StorePath, list[StorePath]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for reference in self.references_of(node):
                users[reference].append(node)
        found = set(start)
        waiting = list(found)
        while waiting:
            for user in users[waiting.pop()]:
                if user not in found:
                    found.add(user)
                    waiting.append(user)
        return found

    def children(self, paths: Iterable[StorePath]) -> set[StorePath]:
        """Return what the members among `paths` refer to directly."""
        return {r for path in paths if path in self.members for r in self.references_of(path)}

    def by_popularity(self) -> list[StorePath]:
        """Return the members, most popular within this graph first."""
        from nixdock.layering.ranking import by_popularity  # noqa: PLC0415 (few pipelines rank)
        from nixdock.nix.closure import Closure, PathInfo  # noqa: PLC0415 (the closure's own loads it)

        infos = {
            node: PathInfo(node, references=tuple(sorted(self.references_of(node))))
            for node in sorted(self.nodes)
        }
        return [path for path, _ in by_popularity(Closure(infos))]


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
    """Return where in `data` a path is, for people; None if it is nowhere."""
    waiting: list[tuple[str, Data]] = [("", data)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, Graph):
            if path in item.members:
                more = len(item.nodes) - 1
                beside = f", with {more} other{'s' if more > 1 else ''}" if more else ", alone"
                return (place.removeprefix(".") or "the graph") + beside
        elif isinstance(item, dict):
            waiting += [(f"{place}.{name}", part) for name, part in item.items()]
        else:
            waiting += [(f"{place}[{i}]", part) for i, part in enumerate(item)]
    return None


def described(data: Data) -> str:
    """Say what kind of thing `data` is."""
    if isinstance(data, Graph):
        return "a graph"
    if isinstance(data, dict):
        return f"graphs by name ({', '.join(data)})"
    if any(isinstance(item, dict | list) for item in data):
        return "a list that holds lists or graphs by name"
    return "a list of graphs"
