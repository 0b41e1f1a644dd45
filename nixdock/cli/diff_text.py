"""What `nixdock diff` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from nixdock.cli.layer_lines import known_size, layer_cell, more_text
from nixdock.cli.output import size_text
from nixdock.cli.package_lines import needless_lines, package_lines
from nixdock.cli.screen import Screen, Style
from nixdock.cli.table import Cell, Column, styled_lines
from nixdock.system.text import counted, shown
from nixdock.view.model import Status
from nixdock.view.order import sorted_layers
from nixdock.view.sentence import ARROW, update_sentence
from nixdock.view.shares import path_counts, status_runs, status_sizes

if TYPE_CHECKING:
    from nixdock.view import ImageView, LayerView, TransferView, UpdateView

__all__ = ["MARKS", "STYLES", "diff_lines"]

_MOST_REASONS: Final = 3
_COLUMNS: Final = (
    Column("layer", right=True),
    Column("status"),
    Column("what", flexible=True),
    Column("size", right=True),
    Column(""),
    Column("paths", right=True, above=76),
    Column("why", flexible=True, above=76),
)
# No status is told by its colour alone.
MARKS: Final = {Status.KEPT: "=", Status.MOVED: ">", Status.NEW: "+", Status.GONE: "-"}
"""The mark of each status."""

STYLES: Final = {
    Status.KEPT: Style.KEPT,
    Status.MOVED: Style.MOVED,
    Status.NEW: Style.NEW,
    Status.GONE: Style.GONE,
}
"""The style of each status."""

_LEAD: Final = " " * 5
_BAR_IN_FILE: Final = 60
_FILLS: Final = {Status.KEPT: "░", Status.MOVED: "▒", Status.NEW: "█", Status.GONE: "·"}


def diff_lines(
    update: UpdateView, screen: Screen, order: str = "layer", top: int | None = None
) -> Iterator[str]:
    """Yield the sentence, the packages, what moves without need, the layers, and what is moved."""
    sentence = update_sentence(update)
    if not screen.has_blocks:
        sentence = sentence.replace(ARROW, "->")
    yield screen.painted(sentence, Style.HEAD)
    yield ""
    yield from _side_lines(update, screen)
    yield from package_lines(update, screen)
    yield from needless_lines(update)
    yield ""
    yield from _layer_lines(update, screen, order, top)
    yield ""
    if update.unplanned:
        numbers = ", ".join(map(str, update.unplanned))
        yield f"left out: layers without store paths, which no plan contains: {numbers}"
    counts = path_counts(update).items()
    yield f"store paths: {', '.join(f'{count} {status}' for status, count in counts)}"
    yield f"registry, containerd, Podman: {_transfer(update.registry, update)}"
    yield f"classic Docker: {_transfer(update.docker, update)}"


def _side_lines(update: UpdateView, screen: Screen) -> Iterator[str]:
    """Yield both sides, and below each a bar to scale of what is kept, moved, new or gone."""
    sides = (("old", update.old), ("new", update.new))
    runs = [status_runs(view) for _, view in sides]
    most = max(sum(size for _, size in each) for each in runs)
    width = _BAR_IN_FILE if screen.width is None else max(8, screen.width - len(_LEAD))
    for (name, view), run in zip(sides, runs, strict=True):
        yield f"{name}  {_side(view)}"
        if most:
            yield _LEAD + _runs_bar(run, most, width, screen)
    new, old = status_sizes(update.new), status_sizes(update.old)
    legend = []
    for status in MARKS:
        if size := (old if status is Status.GONE else new).get(status, 0):
            text = f"{screen.fill(_FILLS[status])} {status} {size_text(size)}"
            legend.append(screen.painted(text, STYLES[status]))
    if legend:
        yield _LEAD + "  ".join(legend)


def _runs_bar(runs: Sequence[tuple[Status, int]], most: int, width: int, screen: Screen) -> str:
    """Return a bar of at most `width` columns, which are those of `most` bytes."""
    widths = [max(1, size * width // most) if size else 0 for _, size in runs]
    while sum(widths) > width and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return "".join(
        screen.painted(screen.fill(_FILLS[status]) * count, STYLES[status])
        for (status, _), count in zip(runs, widths, strict=True)
    )


def _side(view: ImageView) -> str:
    count = counted(len(view.layers), "layer")
    return f"{shown(view.origin)}: {view.kind}, {count}, {known_size(view.size)}"


def _layer_lines(update: UpdateView, screen: Screen, order: str, top: int | None) -> Iterator[str]:
    layers = [layer for layer in sorted_layers(update.new, order) if layer.status is not None]
    gone = [
        layer
        for layer in update.old.layers
        if layer.status is Status.GONE and layer.other_layer is None
    ]
    groups = [[*group] for _, group in groupby(layers, key=_group_key)]
    if order != "layer":
        groups = [[layer] for layer in layers]
    groups += [[layer] for layer in gone]
    shown_groups = groups[:top]
    sizes = [_size(group) for group in groups]
    most = max(sizes, default=0)
    rows = [row for group in shown_groups for row in _rows(group, most, screen)]
    yield from styled_lines(_COLUMNS, rows, screen)
    if left_out := sizes[len(shown_groups) :]:
        yield more_text(left_out, "row")


def _group_key(layer: LayerView) -> object:
    """Return a key that adjacent layers share if one row can show them all.

    Such layers have all been kept, or have all moved by the same distance.
    """
    if layer.status is Status.NEW:
        return layer.number
    shift = layer.number - (layer.other_layer or 0)
    return (layer.status, shift, layer.fetched_by_docker)


def _size(layers: Sequence[LayerView]) -> int:
    return sum(layer.size or 0 for layer in layers)


def _rows(layers: Sequence[LayerView], most: int, screen: Screen) -> Iterator[tuple[Cell, ...]]:
    first, last = layers[0], layers[-1]
    status = first.status or Status.KEPT
    style = STYLES[status]
    number = "" if status is Status.GONE else str(first.number)
    if first is not last:
        number = f"{first.number}-{last.number}"
    paths = sum(len(layer.paths) for layer in layers)
    size = _size(layers)
    reason, *others = _reasons(layers)
    yield (
        Cell(number),
        Cell(f"{MARKS[status]} {status}", style),
        _what(layers),
        Cell(size_text(size)),
        Cell(screen.bar(size, most, screen.bar_width, _FILLS[status]), style),
        Cell(str(paths)),
        Cell(reason),
    )
    yield from ((*[Cell("")] * 6, Cell(other)) for other in others)


def _what(layers: Sequence[LayerView]) -> Cell:
    """Return the name of the most important store path of several layers."""
    cell = layer_cell(layers[0])
    if len(layers) == 1:
        return cell
    count = sum(len(layer.paths) for layer in layers)
    is_app = any(path.is_app for layer in layers for path in layer.paths)
    tail = (f" +{count - 1}" if count > 1 else "") + (" (app)" if is_app else "")
    return Cell(cell.text, Style.APP if is_app else None, tail)


def _reasons(layers: Sequence[LayerView]) -> list[str]:
    layer = layers[0]
    if layer.status is Status.GONE:
        return [_gone(layer)]
    if layer.status is not Status.NEW:
        reasons = [f"from {layer.other_layer}"] if layer.status is Status.MOVED else []
        if layer.fetched_by_docker:
            reasons.append("classic Docker fetches it too")
        return ["; ".join(reasons)]
    reasons = [*layer.changes[:_MOST_REASONS]]
    if more := len(layer.changes) - len(reasons):
        reasons.append(f"and {more} more")
    if layer.other_layer not in {None, layer.number}:
        reasons.append(f"in place of layer {layer.other_layer}")
    return reasons or [""]


def _gone(layer: LayerView) -> str:
    numbers = sorted({path.other_layer for path in layer.paths if path.other_layer is not None})
    text = f"was layer {layer.number}"
    return f"{text}; part of it is in {', '.join(map(str, numbers))} now" if numbers else text


def _transfer(transfer: TransferView, update: UpdateView) -> str:
    compared = sum(1 for layer in update.new.layers if layer.status is not None)
    text = f"{size_text(transfer.size)} in {transfer.layers} of {counted(compared, 'layer')}"
    documents = [
        f"{name} {size_text(size)}"
        for name, size in (
            ("config", transfer.config_size),
            ("manifest", transfer.manifest_size),
        )
        if size
    ]
    return ", ".join([text, *documents])
