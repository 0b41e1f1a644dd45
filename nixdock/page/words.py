"""What a page calls things: the words for sizes, shares and statuses, and their style classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nixdock.page.markup import element, text
from nixdock.system.text import size_text
from nixdock.view.model import ImageView, LayerKind, LayerView, Status

__all__ = [
    "OTHER",
    "UNKNOWN",
    "change_class",
    "change_legend",
    "size_or_unknown",
    "status_legend",
    "status_mark",
]

UNKNOWN: Final = "?"
"""What stands in place of a figure that is not known."""

_APP: Final = "app"
OTHER: Final = "other"
"""The style class of layers without store paths, and of those that were not compared."""

_LEFT_OUT: Final = "left out"
# Up to which part of the image's store paths a layer of each class depends on.
_BOUNDS: Final = (("rare", 0.02), ("some", 0.1), ("many", 0.3), ("most", 1.0))
_UNRANKED: Final = "some"

_STATUSES: Final[Mapping[Status | None, str]] = {
    Status.KEPT: "the client has it",
    Status.MOVED: "the client has it, at another place",
    Status.NEW: "transferred",
    Status.GONE: "only in the old image",
    None: "not compared",
}


def size_or_unknown(size: int | None) -> str:
    """Return a size in bytes for people."""
    return UNKNOWN if size is None else size_text(size)


def change_class(layer: LayerView, image: ImageView) -> str:
    """Return the style class that says how many store paths a layer changes with."""
    if layer.has_app:
        return _APP
    if layer.kind in {LayerKind.OWN_FILES, LayerKind.OTHER, LayerKind.DATABASE}:
        return OTHER
    count = sum(len(each.paths) for each in image.layers)
    if layer.changed_by is None or not count:
        return _UNRANKED
    part = layer.changed_by / count
    return next((word for word, bound in _BOUNDS if part <= bound), _BOUNDS[-1][0])


def change_legend(image: ImageView) -> str:
    """Return the legend of `change_class`, for the classes that the layers of an image have."""
    classes = {change_class(layer, image) for layer in image.layers}
    entries = []
    if any(layer.changed_by is not None for layer in image.layers):
        steps = "".join(element("i", class_=f"swatch {word}") for word, _ in _BOUNDS)
        entries.append(f"{steps} the stronger the blue, the more store paths change it")
    if _APP in classes:
        entries.append(f"{element('i', class_=f'swatch {_APP}')} has the app: changes with it")
    if OTHER in classes:
        entries.append(f"{element('i', class_=f'swatch {OTHER}')} not from the store")
    return element("ul", "".join(element("li", entry) for entry in entries), class_="legend")


def status_mark(status: Status | None) -> str:
    """Return a status as a swatch and a word; None is that of what was not compared."""
    if status is None:
        return f"{element('i', class_=f'swatch {OTHER}')} {_LEFT_OUT}"
    return f"{element('i', class_=f'swatch {status.value}')} {text(status.value)}"


def status_legend(figures: Mapping[Status | None, str]) -> str:
    """Return the legend of the statuses, with a figure for each of them, which is text."""
    items = [
        element(
            "li",
            f"{element('i', class_=f'swatch {OTHER if status is None else status.value}')} "
            f"{element('b', _LEFT_OUT if status is None else status.value)} "
            f"{text(figure)}{element('small', _STATUSES[status])}",
        )
        for status, figure in figures.items()
    ]
    return element("ul", "".join(items), class_="legend")
