"""Layers and store paths as segments of bars, and as frames and tiles of a treemap."""

from __future__ import annotations

from nixdock.page.bars import Bar, Segment
from nixdock.page.layer_table import layer_key, old_layer_key
from nixdock.page.markup import isolated
from nixdock.page.references import References
from nixdock.page.styles import layer_style, path_style
from nixdock.page.treemap import Frame, Tile
from nixdock.page.words import size_or_unknown
from nixdock.system.text import counted, size_text
from nixdock.view.model import ImageView, LayerView, PathView, Status
from nixdock.view.sentence import share_text

__all__ = ["frames", "image_bar", "old_bar"]


def image_bar(prefix: str, image: ImageView, label: str) -> Bar:
    """Return the bar of an image, whose layers are in the table with this prefix."""
    total = _total(image)
    segments = tuple(
        Segment(
            key=f"{prefix}b{layer.number}",
            size=layer.size or 0,
            style=layer_style(layer, image),
            title=layer.title,
            said=_said(layer, total),
            link=layer_key(prefix, layer.number),
            same=_same(prefix, layer),
        )
        for layer in image.layers
    )
    return Bar(label, segments)


def old_bar(prefix: str, old: ImageView, new: ImageView, label: str) -> Bar:
    """Return the bar of the old image of an update; its layers link to those of the new one."""
    total = _total(old)
    now = {layer.other_layer: layer for layer in new.layers if _stays(layer)}
    segments = tuple(
        Segment(
            key=_old_key(prefix, layer.number),
            size=layer.size or 0,
            style=layer_style(layer, old),
            title=layer.title,
            said=_said(layer, total),
            link=layer_key(prefix, now[layer.number].number)
            if layer.number in now
            else old_layer_key(prefix, layer.number),
        )
        for layer in old.layers
    )
    return Bar(label, segments)


def frames(prefix: str, image: ImageView, references: References) -> tuple[Frame, ...]:
    """Return the frames of the layers of an image, with their store paths as tiles.

    The sizes are uncompressed, as far as they are known. A layer of which the sizes of the store
    paths are not known, or which has none, has one tile.
    """
    return tuple(
        Frame(
            key=f"{prefix}f{layer.number}",
            title=f"Layer {layer.number}",
            style=layer_style(layer, image),
            tiles=_tiles(prefix, layer, image, references),
        )
        for layer in image.layers
    )


def _tiles(
    prefix: str, layer: LayerView, image: ImageView, references: References
) -> tuple[Tile, ...]:
    if not layer.paths or any(path.size is None for path in layer.paths):
        title = layer.title
        if len(layer.paths) > 1:
            title += f" and {len(layer.paths) - 1} more"
        key = f"{prefix}t{layer.number}"
        size = layer.tar_size or layer.size or 0
        style = layer_style(layer, image)
        said = f"{isolated(title)}, {size_text(size)}, layer {layer.number}"
        return (Tile(key, size, style, title, said, layer_key(prefix, layer.number)),)
    return tuple(
        _tile(f"{prefix}t{layer.number}-{number}", path, path_style(path, layer, image), references)
        for number, path in enumerate(layer.paths, 1)
    )


def _tile(key: str, path: PathView, style: str, references: References) -> Tile:
    link = references.keys[path.path]
    return Tile(key, path.size or 0, style, path.name, _path_said(path, style), link)


def _path_said(path: PathView, style: str) -> str:
    parts = [isolated(path.name), size_or_unknown(path.size), f"layer {path.layer}"]
    if path.status is not None:
        parts.append("transferred again" if style == "again" else style)
    return ", ".join(parts)


def _said(layer: LayerView, total: int) -> str:
    parts = [f"Layer {layer.number}, {isolated(layer.title)}: {size_or_unknown(layer.size)}"]
    if layer.size is not None:
        parts.append(share_text(layer.size, total))
    if layer.paths:
        parts.append(counted(len(layer.paths), "store path"))
    if layer.status is not None:
        parts.append(layer.status.value)
    return ", ".join(parts)


def _same(prefix: str, layer: LayerView) -> str | None:
    if _stays(layer) and layer.other_layer is not None:
        return _old_key(prefix, layer.other_layer)
    return None


def _stays(layer: LayerView) -> bool:
    return layer.status in {Status.KEPT, Status.MOVED}


def _old_key(prefix: str, number: int) -> str:
    return f"{prefix}o{number}"


def _total(image: ImageView) -> int:
    return sum(layer.size or 0 for layer in image.layers)
