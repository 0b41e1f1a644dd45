"""What `nixdock diff` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from nixdock.cli.output import size_text
from nixdock.cli.table import Column, table_lines, terminal_width
from nixdock.diff.result import Status
from nixdock.system.text import counted, shown

if TYPE_CHECKING:
    from nixdock import Diff
    from nixdock.diff.result import GoneLayer, NewLayer, PathStatus, Transfer
    from nixdock.diff.side import Side

__all__ = ["diff_lines"]

_MOST_REASONS: Final = 3
_COLUMNS: Final = (
    Column("layer", right=True),
    Column("status"),
    Column("size", right=True),
    Column("paths", right=True),
    Column("contents", flexible=True),
    Column("why", flexible=True),
)


def diff_lines(diff: Diff) -> Iterator[str]:
    """Yield a table of the layers, and below it what clients transfer."""
    yield _side("old", diff.old)
    yield _side("new", diff.new)
    yield ""
    rows = [row for _, group in groupby(diff.layers, key=_row_key) for row in _rows([*group])]
    rows += [_gone_row(gone) for gone in diff.gone if gone.new_layer is None]
    yield from table_lines(_COLUMNS, rows, terminal_width())
    yield ""
    if diff.unplanned:
        numbers = ", ".join(str(layer.number) for layer in diff.unplanned)
        yield f"left out: layers without store paths, which no plan contains: {numbers}"
    counts = diff.path_counts().items()
    yield f"store paths: {', '.join(f'{count} {status}' for status, count in counts)}"
    yield f"registry, containerd, Podman: {_transfer(diff.transfers.registry, diff)}"
    yield f"classic Docker: {_transfer(diff.transfers.docker, diff)}"


def _side(name: str, side: Side) -> str:
    size = size_text(sum(layer.size for layer in side.layers))
    return (
        f"{name}  {shown(side.origin)}: {side.kind}, {counted(len(side.layers), 'layer')}, {size}"
    )


def _row_key(layer: NewLayer) -> object:
    """Return a key that adjacent layers share if one row can show them all.

    Such layers have all been kept, or have all moved by the same distance.
    """
    if layer.status is Status.NEW:
        return layer.layer.number
    shift = layer.layer.number - (layer.old_layer or 0)
    return (layer.status, shift, layer.fetched_by_docker)


def _rows(layers: list[NewLayer]) -> Iterator[tuple[str, ...]]:
    first, last = layers[0].layer.number, layers[-1].layer.number
    number = str(first) if first == last else f"{first}-{last}"
    size = sum(layer.layer.size for layer in layers)
    paths = [path for layer in layers for path in layer.paths]
    contents = _contents(paths, layers[0].layer.comment)
    reason, *others = _reasons(layers)
    yield _row(number, layers[0].status, size, len(paths), contents, reason)
    yield from (("", "", "", "", "", other) for other in others)


def _row(
    number: str, status: Status, size: int, paths: int, contents: str, reason: str
) -> tuple[str, ...]:
    return (number, status.value, size_text(size), str(paths), contents, reason)


def _contents(paths: Sequence[PathStatus], comment: str) -> str:
    """Return the name of a store path, preferably a new one, and the number of the others."""
    if not paths:
        return shown(comment)
    named = next((path for path in paths if path.status is Status.NEW), paths[0])
    return f"{named.path.name} +{len(paths) - 1}" if len(paths) > 1 else named.path.name


def _reasons(layers: list[NewLayer]) -> list[str]:
    layer = layers[0]
    if layer.status is not Status.NEW:
        reasons = [f"from {layer.old_layer}"] if layer.status is Status.MOVED else []
        if layer.fetched_by_docker:
            reasons.append("classic Docker fetches it too")
        return ["; ".join(reasons)]
    reasons = [str(change) for change in layer.changes[:_MOST_REASONS]]
    if more := len(layer.changes) - len(reasons):
        reasons.append(f"and {more} more")
    if not layer.paths and layer.layer.comment:
        reasons = []
    if layer.old_layer not in {None, layer.layer.number}:
        reasons.append(f"in place of layer {layer.old_layer}")
    return reasons or [""]


def _gone_row(gone: GoneLayer) -> tuple[str, ...]:
    layer = gone.layer
    new_layers = sorted({path.layer for path in gone.paths if path.layer is not None})
    reason = f"was layer {layer.number}"
    if new_layers:
        reason += f"; part of it is in {', '.join(map(str, new_layers))} now"
    contents = _contents(gone.paths, layer.comment)
    return _row("", Status.GONE, layer.size, len(layer.paths), contents, reason)


def _transfer(transfer: Transfer, diff: Diff) -> str:
    text = (
        f"{size_text(transfer.total)} in {transfer.layers} of {counted(len(diff.layers), 'layer')}"
    )
    documents = [
        f"{name} {size_text(size)}"
        for name, size in (
            ("config", transfer.config_bytes),
            ("manifest", transfer.manifest_bytes),
        )
        if size
    ]
    return ", ".join([text, *documents])
