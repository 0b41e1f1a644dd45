"""Why a store path is in an image: the shortest chain of references that leads to it."""

from __future__ import annotations

from collections import deque

from nixdock.view.model import ImageView, PathView

__all__ = ["referrers_of", "shortest_chain"]


def shortest_chain(view: ImageView, path: str) -> tuple[PathView, ...]:
    """Return the shortest chain of references from the app to `path`, which is in the image.

    If the app does not refer to it, the chain starts at a path that nothing refers to. Of several
    chains of the same length, the one whose names come first is returned. If no references are
    known, it is `path` alone.
    """
    paths = {each.path: each for each in view.paths()}
    referred = {name for each in paths.values() for name in each.references or ()}
    roots = sorted(paths.keys() - referred, key=_by_name)
    for starts in (view.app, roots):
        if chain := _chain(paths, [start for start in starts if start in paths], path):
            return tuple(paths[each] for each in chain)
    return ()


def referrers_of(view: ImageView, path: str) -> tuple[PathView, ...]:
    """Return the store paths of the image that refer to `path`, in the order of their names."""
    found = {each.path: each for each in view.paths() if path in (each.references or ())}
    return tuple(found[each] for each in sorted(found, key=_by_name))


def _chain(paths: dict[str, PathView], starts: list[str], target: str) -> list[str]:
    before: dict[str, str | None] = dict.fromkeys(starts)
    waiting = deque(starts)
    while waiting:
        path = waiting.popleft()
        if path == target:
            chain: list[str] = []
            at: str | None = path
            while at is not None:
                chain.append(at)
                at = before[at]
            return chain[::-1]
        for reference in sorted(paths[path].references or (), key=_by_name):
            if reference in paths and reference not in before:
                before[reference] = path
                waiting.append(reference)
    return []


def _by_name(path: str) -> tuple[str, str]:
    return path.rpartition("/")[2][33:], path
