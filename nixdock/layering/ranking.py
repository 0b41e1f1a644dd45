"""The popularity of store paths, and the ranking by it: how much of a closure depends on each.

Let N(c) be the number of distinct walks from a root (a path that no other path refers to) to c,
with N = 1 for a root itself. The popularity of a path is the sum of N over the path and all its
direct and indirect referrers. It counts every (child, descendant) pair once for each way in which
the child is reached. dockerTools gets the same numbers by merging counters upward, but walks shared
subgraphs once for each way to reach them.

The numbers grow exponentially with the depth of the graph, so they are Python's exact integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["popularity_ranking", "popularity_scores"]


def popularity_scores(closure: Closure) -> Mapping[StorePath, int]:
    """Return the exact popularity of every path.

    Paths are visited after all their referrers. After path i, `walks[i]` is N of it, `scores[i]`
    its popularity, and `referrers[i]`, as a bit set, the path and all its direct and indirect
    referrers. A set is dropped as soon as the last reference of its path has used it.

    A score is the sum of `walks` over a union of such sets. It starts from the score of the parent
    with the largest set, its base, so that only the referrers that the base lacks are added up.
    """
    import networkx as nx  # noqa: PLC0415 (0.1 s that only planning needs)

    graph = closure.graph
    order: list[StorePath] = list(nx.topological_sort(graph))
    index = {path: i for i, path in enumerate(order)}
    walks: list[int] = []
    scores: list[int] = []
    referrers: dict[int, int] = {}
    uses_left = [degree for _, degree in graph.out_degree(order)]

    for i, path in enumerate(order):
        parents = [index[parent] for parent in graph.predecessors(path)]
        walks.append(sum(walks[parent] for parent in parents) if parents else 1)
        if parents:
            base = max(parents, key=lambda parent: (referrers[parent].bit_count(), -parent))
            union = referrers[base]
            for parent in parents:
                union |= referrers[parent]
            lacking = union ^ referrers[base]
            score = scores[base] + sum(walks[j] for j in _set_bits(lacking))
        else:
            union, score = 0, 0
        scores.append(score + walks[i])
        for parent in parents:
            uses_left[parent] -= 1
            if not uses_left[parent]:
                del referrers[parent]
        if uses_left[i]:
            referrers[i] = union | (1 << i)
    return dict(zip(order, scores, strict=True))


def popularity_ranking(closure: Closure) -> list[tuple[StorePath, int]]:
    """Return the paths with their popularity, most popular first.

    Equally popular paths are sorted by their path with the hash moved to the end.
    """
    return sorted(
        popularity_scores(closure).items(),
        key=lambda scored: (-scored[1], _name_before_hash(scored[0])),
    )


def _name_before_hash(path: StorePath) -> str:
    head, *rest = path.split("-")
    return "-".join([*rest, head])


def _set_bits(bits: int) -> Iterator[int]:
    """Yield the positions of the ones in `bits`, a byte at a time: shifting would be quadratic."""
    for at, byte in enumerate(bits.to_bytes((bits.bit_length() + 7) // 8, "little")):
        if byte:
            yield from (at * 8 + offset for offset in _OFFSETS[byte])


_OFFSETS: Final = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))
