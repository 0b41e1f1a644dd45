"""Reachability in a closure: what a path refers to and what refers to it, directly or not.

A set of paths is an integer with one bit per path; the number of a path's bit is the position of
the path in `order`. Unions and intersections of large sets are single operations on integers.

To hold a set for each path takes a bit for each pair of paths. So only closures of at most
`MOST_SETS` paths have that; in larger ones, sets are found for the paths that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import compress
from operator import or_
from typing import TYPE_CHECKING, Final, TypeVar

from nixdock.layering.reach_sums import sums_of_some, sums_over_ancestors

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["MOST_SETS", "Reach", "name_then_path", "select"]

MOST_SETS: Final = 1 << 15
"""The greatest number of paths for which a closure holds sets of all: they take up to 128 MiB."""

_AT_ONCE: Final = 1024
_TRUTHS: Final = bytes.maketrans(b"01", b"\0\1")
_DIGITS: Final = tuple(bytes(b"01"[byte >> bit & 1] for byte in range(256)) for bit in range(8))

Item = TypeVar("Item")


def name_then_path(path: StorePath) -> tuple[str, str]:
    """Return the key that sorts by name before hash, because every rebuild changes the hash."""
    return path.name, path


def select(items: Sequence[Item], bits: int) -> Iterator[Item]:
    """Yield the items whose bits are set."""
    # Shifting bit by bit takes quadratic time, printing the number in binary linear time. The slice
    # reverses the digits, lowest first, and drops the prefix 0b; compress wants 0 and 1 as bytes.
    return compress(items, bin(bits)[:1:-1].encode().translate(_TRUTHS))


@dataclass(frozen=True)
class Reach:
    """For each path of a closure, its direct and indirect references and referrers."""

    closure: Closure

    @property
    def order(self) -> tuple[StorePath, ...]:
        """The paths, referrers before their references."""
        return self.closure.order

    @cached_property
    def index(self) -> dict[StorePath, int]:
        """The number of each path's bit."""
        return {path: i for i, path in enumerate(self.order)}

    @cached_property
    def ranks(self) -> tuple[int, ...]:
        """The place of each path in `order` among all, as `name_then_path` sorts them."""
        order = self.order
        ranks = [0] * len(order)
        by_name = sorted(range(len(order)), key=lambda i: name_then_path(order[i]))
        for rank, i in enumerate(by_name):
            ranks[i] = rank
        return tuple(ranks)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The NAR sizes in `order`."""
        return tuple(self.closure[path].nar_size for path in self.order)

    @cached_property
    def references(self) -> tuple[tuple[int, ...], ...]:
        """For each path in `order`, the positions of its direct references, without itself."""
        index = self.index
        return tuple(
            tuple([index[r] for r in self.closure.references(path)]) for path in self.order
        )

    @cached_property
    def referrers(self) -> tuple[tuple[int, ...], ...]:
        """For each path in `order`, the positions of its direct referrers, without itself."""
        referrers: list[list[int]] = [[] for _ in self.order]
        for i, references in enumerate(self.references):
            for reference in references:
                referrers[reference].append(i)
        return tuple(map(tuple, referrers))

    def bits(self, paths: Iterable[StorePath]) -> int:
        """Return `paths`, which must be in the closure, as a set."""
        raw = bytearray((len(self.order) + 7) // 8)
        for path in paths:
            i = self.index[path]
            raw[i >> 3] |= 1 << (i & 7)
        return int.from_bytes(raw, "little")

    def paths(self, bits: int) -> Iterator[StorePath]:
        """Yield the members of a set, in `order`."""
        return select(self.order, bits)

    def size(self, bits: int) -> int:
        """Return the sum of the members' NAR sizes."""
        return sum(select(self.sizes, bits))

    def cone(self, paths: Iterable[StorePath]) -> int:
        """Return `paths` and their direct and indirect references: a change of any changes them."""
        return _reached([self.index[path] for path in paths], self.references)

    def users(self, paths: Iterable[StorePath]) -> int:
        """Return `paths` and their direct and indirect referrers: these change with them."""
        return _reached([self.index[path] for path in paths], self.referrers)

    def cones(self, groups: Iterable[Iterable[int]]) -> Iterator[int]:
        """Yield the cone of each group of positions; many take little more time than one."""
        if len(self.order) <= MOST_SETS:
            down = self.down
            yield from (reduce(or_, map(down.__getitem__, group), 0) for group in groups)
            return
        few: list[Iterable[int]] = []
        for group in groups:
            few.append(group)
            if len(few) == _AT_ONCE:
                yield from self._cones(few)
                few = []
        yield from self._cones(few)

    def _cones(self, groups: Sequence[Iterable[int]]) -> Iterator[int]:
        """Yield the cones of not too many groups, all found by one walk down the graph.

        `above[i]` is the set of the groups whose cone has path i. Printed one below the other,
        these sets are a table with a row for each path, whose columns are the cones.
        """
        above = [0] * len(self.order)
        for number, group in enumerate(groups):
            for i in group:
                above[i] |= 1 << number
        # All referrers of a path come before it, so its set is complete.
        for i, references in enumerate(self.references):
            if above[i]:
                for reference in references:
                    above[reference] |= above[i]
        width = (len(groups) + 7) // 8
        table = b"".join([row.to_bytes(width, "little") for row in reversed(above)])
        for number in range(len(groups)):
            column = table[number >> 3 :: width]
            yield int(column.translate(_DIGITS[number & 7]), 2)

    @cached_property
    def down(self) -> tuple[int, ...]:
        """For each path in `order`, its bit and those of its direct and indirect references."""
        return self.cones_below([1 << i for i in range(len(self.order))])

    def cones_below(self, marks: Sequence[int]) -> tuple[int, ...]:
        """Return, for each path in `order`, the union of the marks of all paths in its cone."""
        reached = list(marks)
        # From the end of the order: the sets of all references of path i are complete.
        for i in reversed(range(len(reached))):
            bits = reached[i]
            for reference in self.references[i]:
                bits |= reached[reference]
            reached[i] = bits
        return tuple(reached)

    def closure_sizes(self, paths: Iterable[StorePath]) -> list[int]:
        """Return, for each of `paths`, the sum of the NAR sizes of its cone."""
        last = len(self.order) - 1
        nodes = [last - self.index[path] for path in paths]
        return sums_of_some(nodes, self._references_first, self.sizes[::-1])

    def sums_below(self, weights: Sequence[int]) -> list[int]:
        """Return, for each path in `order`, the sum of the weights of all paths in its cone.

        `weights` are those of the paths in `order`.
        """
        return sums_over_ancestors(self._references_first, weights[::-1])[::-1]

    @cached_property
    def _references_first(self) -> list[list[int]]:
        """The references of each path, both numbered by their positions from the end of `order`."""
        last = len(self.order) - 1
        return [[last - r for r in references] for references in reversed(self.references)]


def _reached(start: Iterable[int], edges: Sequence[Sequence[int]]) -> int:
    """Return `start` and everything that `edges` lead to from there, as a set of positions."""
    found = bytearray(b"0") * len(edges)
    waiting = []
    for i in start:
        found[i] = 49
        waiting.append(i)
    while waiting:
        for i in edges[waiting.pop()]:
            if found[i] == 48:
                found[i] = 49
                waiting.append(i)
    found.reverse()
    return int(found, 2) if found else 0
