"""Reachability in a closure, as bit sets: one integer per path, with one bit per path.

Unions and intersections of large sets are single operations on integers; that makes it possible to
plan 20,000 paths in a second. The number of a path's bit is the position of the path in `order`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from operator import getitem
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["Reach", "name_then_path", "select"]

_TRUTHS: Final = bytes.maketrans(b"01", b"\0\1")

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

    @cached_property
    def order(self) -> tuple[StorePath, ...]:
        """The paths, referrers before their references."""
        import networkx as nx  # noqa: PLC0415 (0.1 s that only planning needs)

        return tuple(nx.topological_sort(self.closure.graph))

    @cached_property
    def index(self) -> dict[StorePath, int]:
        """The number of each path's bit."""
        return {path: i for i, path in enumerate(self.order)}

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The NAR sizes in `order`."""
        return tuple(self.closure[path].nar_size for path in self.order)

    @cached_property
    def down(self) -> tuple[int, ...]:
        """For each path in `order`, its bit and those of its direct and indirect references."""
        reached = [0] * len(self.order)
        # From the end of the order: the sets of all references of path i are complete.
        for i in reversed(range(len(self.order))):
            bits = 1 << i
            for reference in self._references[i]:
                bits |= reached[reference]
            reached[i] = bits
        return tuple(reached)

    @cached_property
    def up(self) -> tuple[int, ...]:
        """For each path in `order`, its bit and those of its direct and indirect referrers."""
        reached = [1 << i for i in range(len(self.order))]
        # Each path passes its set on. All its referrers come before it, so its set is complete.
        for i, references in enumerate(self._references):
            for reference in references:
                reached[reference] |= reached[i]
        return tuple(reached)

    @cached_property
    def _references(self) -> tuple[tuple[int, ...], ...]:
        index = self.index
        return tuple(
            tuple(index[r] for r in self.closure[path].references if r != path)
            for path in self.order
        )

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

    def sizes_of(self, sets: Iterable[int]) -> Iterator[int]:
        """Yield what `size` returns for each of many sets: a table look-up for each eight paths."""
        tables = []
        for at in range(0, len(self.sizes), 8):
            table = [0]
            for size in self.sizes[at : at + 8]:
                table += [total + size for total in table]
            tables.append(table)
        for bits in sets:
            yield sum(map(getitem, tables, bits.to_bytes(len(tables), "little")))

    def cone(self, paths: Iterable[StorePath]) -> int:
        """Return `paths` and their direct and indirect references: a change of any changes them."""
        union = 0
        for path in paths:
            union |= self.down[self.index[path]]
        return union

    def users(self, paths: Iterable[StorePath]) -> int:
        """Return `paths` and their direct and indirect referrers: these change with them."""
        union = 0
        for path in paths:
            union |= self.up[self.index[path]]
        return union
