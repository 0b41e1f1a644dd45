"""The top of an image: the paths that change with every release of the app.

The root of the closure is the app or a wrapper of it, and there may be more wrappers below it.
These form a chain: the next path of the chain is used only by those above it, and its closure
has all paths of the root's closure except those above it and at most two others. The chain ends at
the app: the lowest such path, or the first that is too large for a wrapper. Other paths that only
the wrappers use are at the top, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from nixdock.layering.reach import Reach, name_then_path

if TYPE_CHECKING:
    from nixdock.nix.store_path import StorePath

__all__ = ["LARGEST_WRAPPER", "top_depths", "top_paths"]

_MOST_APP_ROOTS: Final = 3
_MOST_OTHERS: Final = 2
_LONGEST_CHAIN: Final = 16
LARGEST_WRAPPER: Final = 64 << 10
"""The largest size of a wrapper, in bytes of NAR."""


def top_depths(reach: Reach, volatile: Collection[StorePath] = ()) -> dict[StorePath, int]:
    """Return the paths at the top of the image, each with its greatest distance from the root.

    An image with many roots is an environment rather than an app: only the root with the largest
    closure counts. Paths of `volatile` always count, at distance 0.
    """
    depths: dict[StorePath, int] = {}
    for root in _app_roots(reach):
        depths.update(_top_below(reach, root))
    # Users who declare volatile paths know the app, and paths below it don't change with it.
    below = reach.cone(volatile)
    depths = {path: depth for path, depth in depths.items() if not below >> reach.index[path] & 1}
    return depths | dict.fromkeys(volatile, 0)


def top_paths(
    reach: Reach, depths: Iterable[StorePath], volatile: Collection[StorePath] = ()
) -> frozenset[StorePath]:
    """Return the paths that change with the app: `depths`, and `volatile` and its referrers."""
    return frozenset(depths).union(reach.paths(reach.users(volatile)))


def _app_roots(reach: Reach) -> tuple[StorePath, ...]:
    roots = reach.closure.roots
    if len(roots) <= _MOST_APP_ROOTS:
        return roots
    ordered = sorted(roots, key=name_then_path)
    sizes = reach.closure_sizes(ordered)
    return (ordered[sizes.index(max(sizes))],)


def _top_below(reach: Reach, root: StorePath) -> dict[StorePath, int]:
    """Return the depths of the chain from `root`, and of other paths that only its wrappers use."""
    depths = {root: 0}
    lowest: StorePath | None = root
    while lowest is not None and reach.closure[lowest].nar_size <= LARGEST_WRAPPER:
        lowest = _next_of_chain(reach, root, depths) if len(depths) < _LONGEST_CHAIN else None
        if lowest is not None:
            depths[lowest] = _depth(reach, lowest, depths)
    app = max(depths, key=lambda path: depths[path])
    for path in _used_only_by(reach, depths.keys() - {app}):
        if path not in depths:
            depths[path] = _depth(reach, path, depths)
    return depths


def _next_of_chain(reach: Reach, root: StorePath, chain: Collection[StorePath]) -> StorePath | None:
    candidates = _used_only_by(reach, chain)
    # None of them is below another, so each is one of the other paths of all others.
    if len(candidates) > _MOST_OTHERS + 1:
        return None
    below = reach.cone([root]) & ~reach.bits(chain)
    for path in candidates:
        others = below & ~reach.cone([path])
        if others.bit_count() <= _MOST_OTHERS and reach.closure.references(path):
            return path
    return None


def _depth(reach: Reach, path: StorePath, depths: Mapping[StorePath, int]) -> int:
    return 1 + max(depths[user] for user in reach.closure.referrers[path])


def _used_only_by(reach: Reach, users: Collection[StorePath]) -> list[StorePath]:
    """Return the direct references of `users` that have no other referrers, by name."""
    closure = reach.closure
    below = {path for user in users for path in closure.references(user) if path not in users}
    return sorted(
        (path for path in below if all(user in users for user in closure.referrers[path])),
        key=name_then_path,
    )
