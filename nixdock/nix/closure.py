"""Closures: reference graphs that satisfy the closure contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.errors import ClosureError
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["EXPORT_COMMAND", "Closure", "PathInfo"]

EXPORT_COMMAND: Final = (
    "`nix path-info --json --recursive` (Nix 2.34 and later: also `--json-format 1`)"
)
"""What exports a reference graph, for messages. Nix warns of the missing option, and will fail."""

_MOST_OF_CYCLE: Final = 8
"""Of a longer cycle, an error names only so many paths."""


class PathInfo(Struct, frozen=True):
    """The metadata of a valid store path, as `nix path-info` reports it; sizes are in bytes."""

    path: StorePath
    nar_size: int = 0
    nar_hash: Hash | None = None
    references: tuple[StorePath, ...] = ()
    deriver: str | None = None


@dataclass(frozen=True)
class Closure:
    """A set of store paths that contains every path its members refer to.

    Use `of` to create one from unchecked infos. Iteration is in ascending order of the paths.
    """

    infos: Mapping[StorePath, PathInfo] = field(repr=False)

    @classmethod
    def of(cls, infos: Iterable[PathInfo]) -> Closure:
        """Return the closure of `infos`, in which equal infos may recur.

        Raise ClosureError if a path has two different infos, if a reference leads out of the
        closure, or if there is a cycle other than a self reference.
        """
        by_path: dict[StorePath, PathInfo] = {}
        for info in infos:
            earlier = by_path.setdefault(info.path, info)
            if earlier is not info and earlier != info:
                raise ClosureError(
                    f"{info.path} appears twice in the closure, with different values:"
                    f" {_difference(earlier, info)}",
                    path=info.path,
                )
        for info in by_path.values():
            for reference in info.references:
                if reference not in by_path:
                    raise ClosureError(
                        f"{info.path} refers to {reference}, which is not in the closure;"
                        " export the whole closure, as nix path-info --json --recursive does",
                        path=info.path,
                    )
        closure = cls({path: by_path[path] for path in sorted(by_path)})
        try:
            closure.order  # noqa: B018 (raises CycleError)
        except CycleError as error:
            raise _cyclic(error.args[1]) from None
        return closure

    def __len__(self) -> int:
        return len(self.infos)

    def __iter__(self) -> Iterator[PathInfo]:
        return iter(self.infos.values())

    def __contains__(self, path: object) -> bool:
        return path in self.infos

    def __getitem__(self, path: StorePath) -> PathInfo:
        return self.infos[path]

    def references(self, path: StorePath) -> tuple[StorePath, ...]:
        """Return the references of a member, each once, without itself."""
        return tuple(r for r in dict.fromkeys(self.infos[path].references) if r != path)

    @cached_property
    def referrers(self) -> Mapping[StorePath, Sequence[StorePath]]:
        """The referrers of each member, without itself."""
        referrers: dict[StorePath, list[StorePath]] = {path: [] for path in self.infos}
        for path in self.infos:
            for reference in self.references(path):
                referrers[reference].append(path)
        return referrers

    @cached_property
    def order(self) -> tuple[StorePath, ...]:
        """The paths, referrers before their references, by their distance from the roots."""
        sorter: TopologicalSorter[StorePath] = TopologicalSorter(dict.fromkeys(self.infos, ()))
        for path in self.infos:
            for reference in self.references(path):
                sorter.add(reference, path)
        sorter.prepare()
        order: list[StorePath] = []
        while sorter.is_active():
            ready = sorter.get_ready()
            order += ready
            sorter.done(*ready)
        return tuple(order)

    @cached_property
    def graph(self) -> nx.DiGraph[StorePath]:
        """The graph with an edge from each referrer to its reference, without self references."""
        import networkx as nx  # noqa: PLC0415 (0.1 s, which only ranking takes)

        graph: nx.DiGraph[StorePath] = nx.DiGraph()
        graph.add_nodes_from(self.infos)
        graph.add_edges_from(
            (path, reference) for path in self.infos for reference in self.references(path)
        )
        return graph

    @property
    def nar_size(self) -> int:
        """The sum of the NAR sizes, in bytes."""
        return sum(info.nar_size for info in self)

    @property
    def roots(self) -> tuple[StorePath, ...]:
        """The paths that no other member refers to."""
        return tuple(path for path, referrers in self.referrers.items() if not referrers)

    def reached_from(self, roots: Iterable[StorePath]) -> Closure:
        """Return the closure of `roots`, which are members.

        A graph that Nix exports for a derivation may have more: the outputs of every derivation
        in it, although nothing refers to them.
        """
        reached = set(roots)
        waiting = [*reached]
        while waiting:
            found = [path for path in self.infos[waiting.pop()].references if path not in reached]
            reached.update(found)
            waiting += found
        if len(reached) == len(self):
            return self
        return Closure({path: info for path, info in self.infos.items() if path in reached})

    def without(self, excluded: Iterable[StorePath]) -> Closure:
        """Return the closure without the `excluded` paths and without the references to them."""
        excluded = frozenset(excluded)
        if excluded.isdisjoint(self.infos):
            return self
        return Closure(
            {
                info.path: PathInfo(
                    path=info.path,
                    nar_size=info.nar_size,
                    nar_hash=info.nar_hash,
                    references=tuple(r for r in info.references if r not in excluded),
                    deriver=info.deriver,
                )
                for info in self
                if info.path not in excluded
            }
        )


def _cyclic(ring: Sequence[StorePath]) -> ClosureError:
    """Return the error for a ring of references, whose last path is its first."""
    # Start at the lowest path, so that the message does not depend on the search order.
    start = ring.index(min(ring))
    cycle = [*ring[start:-1], *ring[: start + 1]]
    steps: Sequence[str] = cycle
    if len(cycle) > _MOST_OF_CYCLE:
        left_out = f"({len(cycle) - _MOST_OF_CYCLE} more)"
        steps = [*cycle[: _MOST_OF_CYCLE - 1], left_out, cycle[0]]
    return ClosureError(f"the references form a cycle: {' -> '.join(steps)}", path=cycle[0])


def _difference(first: PathInfo, second: PathInfo) -> str:
    names = ("nar_size", "nar_hash", "references", "deriver")
    name = next(name for name in names if getattr(first, name) != getattr(second, name))
    return f"{name} is {getattr(first, name)} in one info and {getattr(second, name)} in another"
