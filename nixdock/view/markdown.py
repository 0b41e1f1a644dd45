"""Images and updates as Markdown, for the comments of pull requests.

Everything that comes from an image stands in a code span, with the characters escaped that could
end it or the cell of a table: neither markup nor mentions nor links in a name do anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from nixdock.system.text import counted, shown, size_text
from nixdock.view.model import Status
from nixdock.view.order import sorted_layers, sorted_paths
from nixdock.view.sentence import update_sentence
from nixdock.view.shares import path_counts
from nixdock.view.update import PackageStatus

if TYPE_CHECKING:
    from nixdock.view.model import ImageView, LayerView, PathView
    from nixdock.view.update import PackageChange, TransferView, UpdateView

__all__ = ["code", "image_markdown", "paths_markdown", "update_markdown"]

_BAR: Final = 20
_MOST_PACKAGES: Final = 50
_ESCAPES: Final = str.maketrans({"`": r"\x60", "|": r"\x7c"})


def code(text: str) -> str:
    """Return untrusted text as a code span, which may stand in a table; empty text stays empty."""
    return f"`{shown(text).translate(_ESCAPES)}`" if text else ""


def image_markdown(view: ImageView, order: str = "layer", top: int | None = None) -> str:
    """Return an image or a plan: its names and size, and a table of its layers."""
    names = ", ".join(map(code, view.names)) or code(view.origin)
    platform = f" for {code(view.platform)}" if view.platform else ""
    size = "" if view.size is None else f", {size_text(view.size)}"
    layers = sorted_layers(view, order)
    most = max((layer.size or 0 for layer in layers), default=0)
    count = sum(1 for _ in view.paths())
    lines = [
        f"**{names}**{platform}: {counted(len(layers), 'layer')}{size}",
        "",
        *_table(
            ("layer:", "what", "size:", "", "paths:", "changes with"),
            (_layer(layer, most, count) for layer in layers[:top]),
        ),
        *_more(len(layers[:top]), len(layers), "layer"),
    ]
    return _text(lines)


def paths_markdown(view: ImageView, order: str = "layer", top: int | None = None) -> str:
    """Return a table of the store paths of an image or a plan."""
    paths = sorted_paths(view, order)
    most = max((path.size or 0 for path in paths), default=0)
    lines = [
        *_table(
            ("store path", "hash", "layer:", "size:", "", "added:"),
            (_path(path, most) for path in paths[:top]),
        ),
        *_more(len(paths[:top]), len(paths), "store path"),
    ]
    return _text(lines)


def update_markdown(update: UpdateView, order: str = "layer", top: int | None = None) -> str:
    """Return an update: the sentence, the packages, what moves without need, and the layers."""
    sentence = update_sentence(update, code)
    lines = [
        f"**{sentence[0].upper()}{sentence[1:]}**",
        "",
        *_table(
            ("", "image", "layers:", "size:"),
            (_side("old", update.old), _side("new", update.new)),
        ),
        *_packages(update.packages),
        *_needless(update),
        *_layers(update, order, top),
        "",
        _counts(update),
    ]
    return _text(lines)


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table; the columns whose head ends in a colon are aligned to the right."""
    yield f"| {' | '.join(head.rstrip(':') for head in heads)} |"
    yield f"|{'|'.join('--:' if head.endswith(':') else '---' for head in heads)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _more(shown_count: int, count: int, noun: str) -> list[str]:
    more = count - shown_count
    return ["", f"and {counted(more, f'more {noun}')}"] if more else []


def _size(size: int | None) -> str:
    return "?" if size is None else size_text(size)


def _bar(size: int | None, most: int, fill: str = "█") -> str:
    if not size or not most:
        return ""
    return fill * max(1, (2 * size * _BAR + most) // (2 * most))


def _what(layer: LayerView) -> str:
    more = f" +{len(layer.paths) - 1}" if len(layer.paths) > 1 else ""
    is_app = any(path.is_app for path in layer.paths)
    return code(layer.title) + more + (" (app)" if is_app else "")


def _layer(layer: LayerView, most: int, count: int) -> tuple[str, ...]:
    changes = ""
    if layer.has_app:
        changes = "the app"
    elif layer.changed_by is not None:
        changes = f"{layer.changed_by} of {counted(count, 'path')}"
    return (
        str(layer.number),
        _what(layer),
        _size(layer.size),
        _bar(layer.size, most),
        str(len(layer.paths)),
        changes,
    )


def _path(path: PathView, most: int) -> tuple[str, ...]:
    return (
        code(path.name) + (" (app)" if path.is_app else ""),
        code(path.short_hash),
        str(path.layer),
        _size(path.size),
        _bar(path.size, most),
        _size(path.added_size),
    )


def _side(name: str, view: ImageView) -> tuple[str, ...]:
    return (name, code(view.origin), str(len(view.layers)), _size(view.size))


def _packages(packages: Sequence[PackageChange]) -> Iterator[str]:
    changes = [each for each in packages if each.status is not PackageStatus.REBUILT]
    rebuilt = [each for each in packages if each.status is PackageStatus.REBUILT]
    if changes:
        yield ""
        yield from _table(
            ("package", "old", "new", "size:"), map(_package, changes[:_MOST_PACKAGES])
        )
        yield from _more(len(changes[:_MOST_PACKAGES]), len(changes), "package")
    if rebuilt:
        names = ", ".join(code(each.package) for each in rebuilt[:_MOST_PACKAGES])
        more = len(rebuilt) - _MOST_PACKAGES
        others = f" and {more} more" if more > 0 else ""
        yield ""
        yield f"{counted(len(rebuilt), 'package')} rebuilt: {names}{others}"


def _package(change: PackageChange) -> tuple[str, ...]:
    size = change.size_change
    growth = "?" if size is None else f"{'-' if size < 0 else '+'}{size_text(abs(size))}"
    old = "" if change.old is None else code(change.old_version or "present")
    new = "" if change.new is None else code(change.new_version or "present")
    return (code(change.package), old, new, growth)


def _needless(update: UpdateView) -> Iterator[str]:
    if not update.needless:
        return
    yield ""
    yield from _table(
        ("moves without need", "layer:", "paths:", "size:", "why"),
        (
            (
                code(each.title),
                str(each.layer),
                f"{each.paths} of {each.of}",
                _size(each.size),
                code(each.reason),
            )
            for each in update.needless
        ),
    )


def _layers(update: UpdateView, order: str, top: int | None) -> Iterator[str]:
    """Yield the layers that are not kept, and those that only the old image has."""
    layers = [
        layer
        for layer in sorted_layers(update.new, order)
        if layer.status not in {Status.KEPT, None}
    ]
    layers += [
        layer
        for layer in update.old.layers
        if layer.status is Status.GONE and layer.other_layer is None
    ]
    if not layers:
        return
    most = max(layer.size or 0 for layer in layers)
    yield ""
    yield from _table(
        ("layer:", "status", "what", "size:", "", "why"),
        (
            (
                "" if layer.status is Status.GONE else str(layer.number),
                str(layer.status),
                _what(layer),
                _size(layer.size),
                _bar(layer.size, most),
                code(layer.changes[0]) if layer.changes else "",
            )
            for layer in layers[:top]
        ),
    )
    yield from _more(len(layers[:top]), len(layers), "layer")


def _counts(update: UpdateView) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in path_counts(update).items())
    return (
        f"Store paths: {counts}. Registries, containerd and Podman transfer"
        f" {_transfer(update.registry)}, classic Docker {_transfer(update.docker)}."
    )


def _transfer(transfer: TransferView) -> str:
    return f"{size_text(transfer.size)} in {counted(transfer.layers, 'layer')}"
