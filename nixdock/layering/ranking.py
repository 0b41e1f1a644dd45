"""The popularity of store paths, and the ranking by it: how much of a closure depends on each.

Let N(c) be the number of distinct walks from a root (a path that no other path refers to) to c,
with N = 1 for a root itself. The popularity of a path is the sum of N over the path and all its
direct and indirect referrers. It counts every (child, descendant) pair once for each way in which
the child is reached. dockerTools gets the same numbers by merging counters upward, but walks shared
subgraphs once for each way to reach them.

The numbers grow exponentially with the depth of the graph, so they are Python's exact integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from nixdock.layering.reach_sums import sums_over_ancestors

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath

__all__ = ["all_digits", "popularity_ranking", "popularity_scores", "score_text"]

_MOST_DIGITS: Final = 24
"""A score with more digits is rounded for people."""


def popularity_scores(closure: Closure) -> Mapping[StorePath, int]:
    """Return the exact popularity of every path."""
    import networkx as nx  # noqa: PLC0415 (0.1 s that only planning needs)

    graph = closure.graph
    order: list[StorePath] = list(nx.topological_sort(graph))
    index = {path: i for i, path in enumerate(order)}
    parents = [[index[parent] for parent in graph.predecessors(path)] for path in order]
    walks: list[int] = []
    for numbers in parents:
        walks.append(sum([walks[parent] for parent in numbers]) if numbers else 1)
    return dict(zip(order, sums_over_ancestors(parents, walks), strict=True))


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


def all_digits(score: int) -> str:
    """Return a score in full."""
    from decimal import Decimal  # noqa: PLC0415 (few commands show scores)

    # Python refuses to convert integers of more than 4300 digits, which would take it long.
    return str(Decimal(score))


def score_text(score: int) -> str:
    """Return a score for people: in full, or rounded, as 1.0715e+301, if it is long."""
    from decimal import Decimal  # noqa: PLC0415 (as above)

    return str(score) if score < 10**_MOST_DIGITS else f"{Decimal(score):.4e}"
