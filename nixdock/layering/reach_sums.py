"""Sums over all ancestors of each node of a graph: exact, and without a set for each pair.

A node is an ancestor of those that can be reached from it. Popularity is such a sum over referrers,
and the size of a closure one over references, with the order turned round.

The ancestors are bit sets of a few thousand columns at a time, so that memory grows linearly. Only
ancestors with several children are columns: one with a single child is an ancestor of the same
nodes as its child, besides the child, so it adds its weight to the child's. Within a block, a node
starts from the sum of the parent with most ancestors; what this parent lacks is added by bit
counts, one for each binary digit of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import getitem
from typing import Final

__all__ = ["sums_of_some", "sums_over_ancestors"]

_COLUMNS: Final = 8192
_FEW: Final = 24
"""So few ancestors are added one by one."""
_MOST_DIGITS: Final = 100
"""Up to this length of weights, in bits, counting bits for each digit is faster than tables."""


def sums_over_ancestors(
    parents: Sequence[Sequence[int]], weights: Sequence[int], columns: int = _COLUMNS
) -> list[int]:
    """Return, for each node, the sum of the weights of it and all its ancestors.

    `parents[i]` are the numbers of node i's parents, without duplicates and all less than i.
    `weights` are not negative. `columns` bounds the memory: that many bits for each node.
    """
    own, shared = _own_weights(parents, weights)
    sums = list(own)
    for at in range(0, len(shared), columns):
        _add_block(sums, parents, own, shared[at : at + columns])
    return sums


def sums_of_some(
    nodes: Sequence[int],
    parents: Sequence[Sequence[int]],
    weights: Sequence[int],
    columns: int = _COLUMNS,
) -> list[int]:
    """Return what `sums_over_ancestors` does, but only for `nodes`: for few, that is faster."""
    own, shared = _own_weights(parents, weights)
    sums = {node: own[node] for node in nodes}
    for at in range(0, len(shared), columns):
        block = shared[at : at + columns]
        bit_of = {number: 1 << k for k, number in enumerate(block)}
        add_up = _adder([own[number] for number in block])
        sets = [0] * len(parents)
        for i in range(block[0], len(parents)):
            union = 0
            for parent in parents[i]:
                union |= sets[parent]
            if i in sums:
                sums[i] += add_up(union)
            sets[i] = union | bit_of.get(i, 0)
    return [sums[node] for node in nodes]


def _own_weights(
    parents: Sequence[Sequence[int]], weights: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return the weights, with those of ancestors with one child added, and the other ancestors."""
    children = [0] * len(parents)
    for numbers in parents:
        for parent in numbers:
            children[parent] += 1
    # All ancestors of a node precede it, so those with a single child pass on what they got.
    own = list(weights)
    for i, numbers in enumerate(parents):
        for parent in numbers:
            if children[parent] == 1:
                own[i] += own[parent]
    return own, [i for i, count in enumerate(children) if count > 1]


def _add_block(
    sums: list[int], parents: Sequence[Sequence[int]], own: Sequence[int], block: Sequence[int]
) -> None:
    """Add the weights of the ancestors in `block`, which is ascending, to `sums`.

    Of each node, `sets` has its ancestors and itself as far as they are in the block, `counts` how
    many these are, and `partial` the sum of their weights.
    """
    bit_of = {number: 1 << k for k, number in enumerate(block)}
    add_up = _adder([own[number] for number in block])
    sets = [0] * len(parents)
    counts = [0] * len(parents)
    partial = [0] * len(parents)
    for i in range(block[0], len(parents)):
        union = count = total = 0
        numbers = parents[i]
        if numbers:
            base = max(numbers, key=counts.__getitem__)
            count, total, known = counts[base], partial[base], sets[base]
            if known:
                union = known
                for parent in numbers:
                    union |= sets[parent]
                if union != known:
                    lacking = union ^ known
                    count += lacking.bit_count()
                    total += add_up(lacking)
                sums[i] += total
        bit = bit_of.get(i)
        if bit:
            union |= bit
            count += 1
            total += own[i]
        sets[i], counts[i], partial[i] = union, count, total


def _adder(weights: Sequence[int]) -> Callable[[int], int]:
    """Return a function that adds up the weights of the members of a bit set."""
    digits = max(weights).bit_length()
    if digits > _MOST_DIGITS:
        tables = _tables(weights)

        def add_many(members: int) -> int:
            return sum(map(getitem, tables, members.to_bytes(len(tables), "little")))

    else:
        planes = [
            int("".join("1" if weight >> digit & 1 else "0" for weight in reversed(weights)), 2)
            for digit in range(digits)
        ]

        def add_many(members: int) -> int:
            return sum((members & plane).bit_count() << digit for digit, plane in enumerate(planes))

    def add(members: int) -> int:
        if members.bit_count() > _FEW:
            return add_many(members)
        total = 0
        while members:
            lowest = members & -members
            total += weights[lowest.bit_length() - 1]
            members ^= lowest
        return total

    return add


def _tables(weights: Sequence[int]) -> list[list[int]]:
    """Return, for each eight weights, the sums of all their subsets, by the byte of the subset."""
    tables = []
    for at in range(0, len(weights), 8):
        table = [0]
        for weight in weights[at : at + 8]:
            table += [total + weight for total in table]
        tables.append(table)
    return tables
