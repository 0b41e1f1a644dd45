"""Where something stands in the other of two images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixdock.browse.levels import LayerTarget, PathTarget, layer_at

if TYPE_CHECKING:
    from nixdock.browse.levels import Target
    from nixdock.view.model import ImageView

__all__ = ["counterpart"]


def counterpart(view: ImageView, target: Target, other: ImageView) -> Target | None:
    """Return what `other` has in place of a layer or store path of `view`, or None.

    That is the same one, or what replaces it or was replaced by it.
    """
    match target:
        case LayerTarget(number):
            other_number = layer_at(view, number).other_layer
            return None if other_number is None else LayerTarget(other_number)
        case PathTarget(path):
            there = {each.path: each for each in other.paths()}
            own = next(each for each in view.paths() if each.path == path)
            replacing = (each.path for each in there.values() if each.replaces == path)
            for candidate in (path, own.replaces, *replacing):
                if candidate in there:
                    return PathTarget(candidate, there[candidate].layer)
    return None
