"""Why a store path is in an image: the shortest chain of references that leads to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from nixdock.view.model import ImageView, PathView

__all__ = ["referrers_of", "shortest_chain", "steps"]


def shortest_chain(view: ImageView, path: str) -> tuple[PathView, ...]:
    """Return the shortest chain of references from the app to `path`, which is in the image.

    If the app does not refer to it, the chain starts at a path that nothing refers to. Of several
    chains of the same length, the one whose names come first is returned. If no references are
    known, it is `path` alone.
    """
    paths = {each.path: each for each in view.paths()}
    before = steps(view)
    if path not in before:
        return ()
    chain = [path]
    while (at := before[chain[-1]]) is not None:
        chain.append(at)
    return tuple(paths[each] for each in reversed(chain))


def steps(view: ImageView) -> dict[str, str | None]:
    """Return which path comes before each path on its shortest chain, or None where it starts.

    A path that no chain leads to is left out.
    """
    paths = {each.path: each for each in view.paths()}
    referred = {name for each in paths.values() for name in each.references or ()}
    before: dict[str, str | None] = {}
    # What the app refers to has no other chain, so those of the rest do not lead there.
    for starts in (view.app, sorted(paths.keys() - referred, key=_by_name)):
        found = [start for start in starts if start in paths and start not in before]
        before |= dict.fromkeys(found)
        _search(paths, found, before)
    return before


def referrers_of(view: ImageView, path: str) -> tuple[PathView, ...]:
    """Return the store paths of the image that refer to `path`, in the order of their names."""
    found = {each.path: each for each in view.paths() if path in (each.references or ())}
    return tuple(found[each] for each in sorted(found, key=_by_name))


def _search(
    paths: Mapping[str, PathView], starts: Iterable[str], before: dict[str, str | None]
) -> None:
    """Add to `before` what can be reached from `starts`, by breadth, and from where."""
    waiting = deque(starts)
    while waiting:
        path = waiting.popleft()
        for reference in sorted(paths[path].references or (), key=_by_name):
            if reference in paths and reference not in before:
                before[reference] = path
                waiting.append(reference)


def _by_name(path: str) -> tuple[str, str]:
    return path.rpartition("/")[2][33:], path
