"""What is known of a row, in lines, and why it is in the image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from nixdock.browse.levels import FileTarget, LayerTarget, PathTarget, layer_at
from nixdock.system.text import counted, shown, size_text
from nixdock.view.chains import referrers_of, shortest_chain

if TYPE_CHECKING:
    from nixdock.browse.levels import Row, Target
    from nixdock.view.model import ImageView, LayerView, PathView

__all__ = ["Line", "explanation", "titled_path", "why"]


class Line(Struct, frozen=True):
    """A line, which may lead somewhere."""

    text: str
    target: Target | None = None


def why(view: ImageView, path: str) -> list[Line]:
    """Return the shortest chain of references from the app to a store path, from top to bottom."""
    found = next(each for each in view.paths() if each.path == path)
    if found.references is None and not view.has_references:
        return [
            Line(f"Why {shown(found.name)} is in the image is not known:"),
            Line("nothing states the references of its store paths. --graph FILE does."),
        ]
    chain = shortest_chain(view, path)
    if not chain:
        return [Line(f"Nothing in the image leads to {shown(found.name)}.")]
    lines = [Line(f"Why {shown(found.name)} is in the image:"), Line("")]
    for depth, each in enumerate(chain):
        indent = "  " * min(depth, 12)
        arrow = "└ " if depth else ""
        lines.append(Line(f"{indent}{arrow}{_described(each)}", _target(each)))
    others = [each for each in referrers_of(view, path) if each not in chain]
    if others:
        lines += [Line(""), Line(f"{counted(len(others), 'other path')} that refer to it:")]
        lines += [Line(f"  {_described(each)}", _target(each)) for each in others]
    return lines


def titled_path(view: ImageView, number: int) -> str | None:
    """Return the store path that the layer with this number has its title from, if any."""
    layer = layer_at(view, number)
    return next((path.path for path in layer.paths if path.name == layer.title), None)


def explanation(view: ImageView, row: Row) -> list[Line]:
    """Return all that is known of what a row shows."""
    match row.target:
        case LayerTarget(number):
            return [*_of_layer(layer_at(view, number))]
        case PathTarget(path):
            found = next(each for each in view.paths() if each.path == path)
            return [*_of_path(found, row), Line(""), *why(view, path)]
        case FileTarget(_, layer):
            lines = [Line(text) for text in row.details]
            lines += [Line(f"layer {layer}"), *_sized("size", row.size)]
            if row.count is not None:
                lines.append(Line(counted(row.count, "item")))
            return lines


def _of_layer(layer: LayerView) -> Iterator[Line]:
    yield Line(f"Layer {layer.number}: {shown(layer.title)}")
    yield Line("")
    yield from _sized("size", layer.size)
    yield from _sized("uncompressed", layer.tar_size)
    yield from _sized("NARs", layer.nar_size)
    for name, text in (
        ("digest", layer.digest),
        ("diff_id", layer.diff_id),
        ("media type", layer.media_type),
        ("created by", layer.created_by),
        ("comment", layer.comment),
    ):
        if text:
            yield Line(f"{name:<13} {shown(text)}")
    if layer.changed_by is not None:
        yield Line(f"{'changes with':<13} {counted(layer.changed_by, 'store path')}")
    if layer.status is not None:
        yield Line("")
        yield Line(f"{'update':<13} {layer.status}")
        for change in layer.changes:
            yield Line(f"{'':<13} {shown(change)}")


def _of_path(path: PathView, row: Row) -> Iterator[Line]:
    for text in row.details:
        yield Line(text)
    yield Line("")
    yield from _sized("NAR", path.size)
    yield from _sized("added", path.added_size)
    yield from _sized("closure", path.closure_size)
    if path.references is not None:
        yield Line(f"{'refers to':<13} {counted(len(path.references), 'store path')}")


def _sized(name: str, size: int | None) -> Iterator[Line]:
    if size is not None:
        yield Line(f"{name:<13} {size_text(size)} ({size} bytes)")


def _described(path: PathView) -> str:
    size = "" if path.size is None else f"  {size_text(path.size)}"
    app = " (app)" if path.is_app else ""
    return f"{shown(path.name)}{app}  {path.short_hash}{size}"


def _target(path: PathView) -> PathTarget:
    return PathTarget(path.path, path.layer)
