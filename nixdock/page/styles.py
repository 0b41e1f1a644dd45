"""How layers and store paths look: style classes, for colours and patterns, and their legends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from nixdock.page.markup import element, text
from nixdock.page.words import total_or_unknown
from nixdock.system.text import counted
from nixdock.view.model import ImageView, LayerKind, LayerView, PathView, Status

__all__ = [
    "change_legend",
    "contents_legend",
    "layer_style",
    "path_mark",
    "path_style",
    "status_mark",
    "update_legend",
]

_APP: Final = "app"
_OTHER: Final = "other"
_AGAIN: Final = "again"
# Up to which part of the image's store paths a layer of each class depends on.
_BOUNDS: Final = (("rare", 0.02), ("some", 0.1), ("many", 0.3), ("most", 1.0))
_UNRANKED: Final = "some"
# What a person reads beside a class: its name, and what it means for a layer and a store path.
_LAYERS: Final = {
    Status.KEPT.value: "the client has it",
    Status.MOVED.value: "the client has it, at another place",
    Status.NEW.value: "transferred",
    Status.GONE.value: "only in the old image",
    _OTHER: "not compared",
}
_PATHS: Final = {
    Status.KEPT.value: "in layers that the client has",
    _AGAIN: "unchanged, but transferred with its layer",
    Status.NEW.value: "transferred",
    _OTHER: "not compared",
}


def layer_style(layer: LayerView, image: ImageView) -> str:
    """Return the class of a layer: its status or, without another image, what it changes with."""
    if layer.status is not None:
        return layer.status.value
    if _is_compared(image):
        return _OTHER
    if layer.has_app:
        return _APP
    if layer.kind in {LayerKind.OWN_FILES, LayerKind.OTHER, LayerKind.DATABASE}:
        return _OTHER
    count = sum(len(each.paths) for each in image.layers)
    if layer.changed_by is None or not count:
        return _UNRANKED
    part = layer.changed_by / count
    return next((style for style, bound in _BOUNDS if part <= bound), _BOUNDS[-1][0])


def path_style(path: PathView, layer: LayerView, image: ImageView) -> str:
    """Return the class of a store path: that of its layer or, in an update, whether it moves."""
    if path.status is None or layer.status is None:
        return layer_style(layer, image)
    if path.status is Status.NEW:
        return Status.NEW.value
    return _AGAIN if layer.status is Status.NEW else Status.KEPT.value


def path_mark(path: PathView, layer: LayerView, image: ImageView) -> str:
    """Return the status of a store path as a swatch and a word."""
    if path.status is None:
        return status_mark(None)
    style = path_style(path, layer, image)
    return f"{_swatch(style)}&nbsp;{style}"


def status_mark(status: Status | None) -> str:
    """Return a status as a swatch and a word; None is that of what was not compared."""
    return (
        f"{_swatch(_OTHER)}&nbsp;left out"
        if status is None
        else f"{_swatch(status)}&nbsp;{status.value}"
    )


def change_legend(image: ImageView) -> str:
    """Return the legend of an image without another one."""
    styles = {layer_style(layer, image) for layer in image.layers}
    entries = []
    if any(layer.changed_by is not None for layer in image.layers):
        steps = "".join(_swatch(style) for style, _ in _BOUNDS)
        entries.append(f"{steps} the stronger the blue, the more store paths change it")
    if _APP in styles:
        entries.append(f"{_swatch(_APP)} changes with every update of the app")
    if _OTHER in styles:
        entries.append(f"{_swatch(_OTHER)} not from the store")
    return _legend(entries)


def update_legend(old: ImageView, new: ImageView) -> str:
    """Return the legend of two bars, with what has each status: in the old image, what is gone."""
    layers = [layer for layer in old.layers if layer.status is Status.GONE]
    layers += new.layers
    entries = []
    for style, meaning in _LAYERS.items():
        found = [layer for layer in layers if (layer.status or _OTHER) == style]
        if found:
            size = total_or_unknown(layer.size for layer in found)
            figure = f"{size} in {counted(len(found), 'layer')}"
            entries.append(_entry(style, figure, meaning))
    return _legend(entries)


def contents_legend(new: ImageView) -> str:
    """Return the legend of the treemap of an update, with the number of store paths."""
    counts = Counter(path_style(path, layer, new) for layer in new.layers for path in layer.paths)
    return _legend(
        _entry(style, counted(counts[style], "store path"), meaning)
        for style, meaning in _PATHS.items()
        if counts[style]
    )


def _is_compared(image: ImageView) -> bool:
    return any(layer.status for layer in image.layers)


def _swatch(style: str) -> str:
    return element("i", class_=f"swatch {style}")


def _entry(style: str, figure: str, meaning: str) -> str:
    word = "left out" if style == _OTHER else style
    return f"{_swatch(style)} {element('b', word)} {text(figure)}{element('small', meaning)}"


def _legend(entries: Iterable[str]) -> str:
    items = "".join(element("li", entry) for entry in entries)
    return element("ul", items, class_="legend") if items else ""
