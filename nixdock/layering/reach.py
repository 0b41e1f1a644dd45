"""Who reaches whom in a closure, as sets of bits: one integer per path, a bit per path.

Unions and intersections of large sets are then single operations, which is what makes planning
20,000 paths a matter of a second. A bit's number is the path's place in `order`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["Reach", "chosen", "name_then_path"]

_TRUTHS: Final = bytes.maketrans(b"01", b"\0\1")

Item = TypeVar("Item")


def name_then_path(path: StorePath) -> tuple[str, str]:
    """Return the key that sorts by name before hash, as a hash changes with every rebuild."""
    return path.name, path


def chosen(items: Sequence[Item], bits: int) -> Iterator[Item]:
    """Yield those of `items` whose bits are set."""
    # Python reads a number's bits one at a time in quadratic time, but prints them in linear.
    return compress(items, bin(bits)[:1:-1].encode().translate(_TRUTHS))


@dataclass(frozen=True)
class Reach:
    """For each path of a closure, what it refers to and what refers to it, however indirectly."""

    closure: Closure

    @cached_property
    def order(self) -> tuple[StorePath, ...]:
        """The paths, referrers before what they refer to."""
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
        """For each path in `order`, itself and all that it refers to."""
        reached = [0] * len(self.order)
        for i in reversed(range(len(self.order))):
            bits = 1 << i
            for reference in self._references[i]:
                bits |= reached[reference]
            reached[i] = bits
        return tuple(reached)

    @cached_property
    def up(self) -> tuple[int, ...]:
        """For each path in `order`, itself and all that refers to it."""
        reached = [1 << i for i in range(len(self.order))]
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
        """Return the set of `paths`, all of them members."""
        raw = bytearray((len(self.order) + 7) // 8)
        for path in paths:
            i = self.index[path]
            raw[i >> 3] |= 1 << (i & 7)
        return int.from_bytes(raw, "little")

    def paths(self, bits: int) -> Iterator[StorePath]:
        """Yield the members of a set, in `order`."""
        return chosen(self.order, bits)

    def size(self, bits: int) -> int:
        """Return the sum of the members' NAR sizes."""
        return sum(chosen(self.sizes, bits))

    def cone(self, paths: Iterable[StorePath]) -> int:
        """Return the set of `paths` and all that they refer to: what makes them change."""
        union = 0
        for path in paths:
            union |= self.down[self.index[path]]
        return union

    def users(self, paths: Iterable[StorePath]) -> int:
        """Return the set of `paths` and all that refers to them: what changes with them."""
        union = 0
        for path in paths:
            union |= self.up[self.index[path]]
        return union
