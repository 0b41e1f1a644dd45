"""The orders in which layers and store paths are listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixdock.errors import InputError

if TYPE_CHECKING:
    from nixdock.view.model import ImageView, LayerView, PathView

__all__ = ["ORDERS", "sorted_layers", "sorted_paths"]

ORDERS = ("layer", "size", "added", "name")
"""By number, or by size or added size, the largest first, or by name."""


def sorted_layers(view: ImageView, order: str) -> list[LayerView]:
    """Return the layers in one of ORDERS; raise InputError for `added`, which layers don't have."""
    if order == "added":
        raise InputError("only store paths have an added size by which they can be sorted")
    # Sorting is stable: equal layers stay in the order of their numbers.
    match order:
        case "size":
            return sorted(view.layers, key=lambda layer: -(layer.size or 0))
        case "name":
            return sorted(view.layers, key=lambda layer: layer.title)
    return [*view.layers]


def sorted_paths(view: ImageView, order: str) -> list[PathView]:
    """Return the store paths in one of ORDERS.

    Raise InputError for `added` if the references are not known, on which added sizes depend.
    """
    paths = [*view.paths()]
    match order:
        case "size":
            return sorted(paths, key=lambda path: -(path.size or 0))
        case "added":
            if not any(path.added_size is not None for path in paths):
                raise InputError(
                    f"{view.origin}: added sizes are not known, as nothing states all references"
                    " of the store paths; name a reference graph that does"
                )
            return sorted(paths, key=lambda path: -(path.added_size or 0))
        case "name":
            return sorted(paths, key=lambda path: (path.name, path.path))
    return paths
