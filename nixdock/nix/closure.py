"""Closures: checked reference graphs, and readers for every form in which Nix exports one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from nixdock.errors import ClosureError
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Closure", "PathInfo"]


@dataclass(frozen=True, slots=True)
class PathInfo:
    """What Nix knows about one valid store path; sizes are bytes of its NAR."""

    path: StorePath
    nar_size: int = 0
    nar_hash: Hash | None = None
    references: tuple[StorePath, ...] = ()
    deriver: str | None = None


@dataclass(frozen=True)
class Closure:
    """A set of store paths that holds every path its members refer to.

    `of` is what checks; iteration is in path order, whatever order the input had.
    """

    infos: Mapping[StorePath, PathInfo] = field(repr=False)

    @classmethod
    def of(cls, infos: Iterable[PathInfo]) -> Closure:
        """Check and hold `infos`.

        Raise ClosureError for a path that stands twice with different contents, a reference
        that leads out of the closure, and a cycle other than a self reference.
        """
        held: dict[StorePath, PathInfo] = {}
        for info in infos:
            known = held.setdefault(info.path, info)
            if known is not info and known != info:
                raise ClosureError(
                    f"{info.path} stands twice in the closure, with different contents:"
                    f" {_difference(known, info)}"
                )
        for info in held.values():
            for reference in info.references:
                if reference not in held:
                    raise ClosureError(
                        f"{info.path} refers to {reference}, which is not in the closure;"
                        " export the graph of all roots"
                    )
        closure = cls({path: held[path] for path in sorted(held)})
        closure._check_acyclic()
        return closure

    def __len__(self) -> int:
        return len(self.infos)

    def __iter__(self) -> Iterator[PathInfo]:
        return iter(self.infos.values())

    def __contains__(self, path: object) -> bool:
        return path in self.infos

    def __getitem__(self, path: StorePath) -> PathInfo:
        return self.infos[path]

    @cached_property
    def graph(self) -> nx.DiGraph[StorePath]:
        """The graph with an edge from each referrer to its reference, self references dropped."""
        import networkx as nx  # noqa: PLC0415 (0.1 s that only planning needs)

        graph: nx.DiGraph[StorePath] = nx.DiGraph()
        graph.add_nodes_from(self.infos)
        graph.add_edges_from(
            (info.path, reference)
            for info in self
            for reference in info.references
            if reference != info.path
        )
        return graph

    @property
    def nar_size(self) -> int:
        """The sum of the members' NAR sizes, in bytes."""
        return sum(info.nar_size for info in self)

    @property
    def roots(self) -> tuple[StorePath, ...]:
        """The paths that no other member refers to."""
        return tuple(path for path, degree in self.graph.in_degree() if degree == 0)

    def without(self, excluded: Iterable[StorePath]) -> Closure:
        """Return the closure less `excluded`, which no longer count as references either."""
        left_out = frozenset(excluded)
        if left_out.isdisjoint(self.infos):
            return self
        return Closure(
            {
                info.path: PathInfo(
                    path=info.path,
                    nar_size=info.nar_size,
                    nar_hash=info.nar_hash,
                    references=tuple(r for r in info.references if r not in left_out),
                    deriver=info.deriver,
                )
                for info in self
                if info.path not in left_out
            }
        )

    def _check_acyclic(self) -> None:
        import networkx as nx  # noqa: PLC0415 (0.1 s that only planning needs)

        if nx.is_directed_acyclic_graph(self.graph):
            return
        cycle = [edge[0] for edge in nx.find_cycle(self.graph)]
        start = cycle.index(min(cycle))
        ring = [*cycle[start:], *cycle[: start + 1]]
        raise ClosureError(f"the references form a cycle: {' -> '.join(ring)}")


def _difference(one: PathInfo, other: PathInfo) -> str:
    names = ("nar_size", "nar_hash", "references", "deriver")
    name = next(name for name in names if getattr(one, name) != getattr(other, name))
    return f"{name} is {getattr(one, name)} in one place and {getattr(other, name)} in another"
