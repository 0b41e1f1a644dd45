"""The popularity contest: how much of a closure depends on each of its paths.

Let N(c) be the number of distinct walks from a root (a path that nothing else refers to) to c,
with 1 for a root itself. A path's popularity is the sum of N(c) over itself and all its
transitive referrers. It counts every (child, descendant) pair once for each way in which the
child is reached, which is what dockerTools' ranking does by merging counters upward, without
walking the same subgraph twice.

The numbers grow exponentially with the graph's depth, so they are Python's exact integers. The
set of transitive referrers is one integer per path, a bit per referrer, and is dropped as soon
as the last reference has used it; a path's sum starts from that of its best-connected referrer
and adds just the referrers which that one lacks, so shared ancestry is summed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["by_popularity", "popularity"]


def popularity(closure: Closure) -> Mapping[StorePath, int]:
    """Return the exact popularity of every path."""
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
            known = referrers[base]
            union = known
            for parent in parents:
                union |= referrers[parent]
            score = scores[base] + sum(walks[j] for j in _set_bits(union ^ known))
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


def by_popularity(closure: Closure) -> list[tuple[StorePath, int]]:
    """Return the paths with their popularity, most popular first.

    Equally popular paths stand in ascending order of their path with the hash moved to the end.
    """
    return sorted(
        popularity(closure).items(), key=lambda scored: (-scored[1], _name_before_hash(scored[0]))
    )


def _name_before_hash(path: StorePath) -> str:
    head, *rest = path.split("-")
    return "-".join([*rest, head])


def _set_bits(bits: int) -> Iterator[int]:
    """Yield the positions of the ones in `bits`, a byte at a time: shifting would be quadratic."""
    for at, byte in enumerate(bits.to_bytes((bits.bit_length() + 7) // 8, "little")):
        if byte:
            yield from (at * 8 + offset for offset in _OFFSETS[byte])


_OFFSETS = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))
