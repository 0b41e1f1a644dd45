"""What `nixdock diff` prints for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Final

from nixdock.cli.output import size_text
from nixdock.diff.result import Status
from nixdock.system.text import counted, shown

if TYPE_CHECKING:
    from nixdock import Diff
    from nixdock.diff.result import GoneLayer, NewLayer, Transfer
    from nixdock.diff.side import Side

__all__ = ["diff_lines"]

_MOST_REASONS: Final = 3


def diff_lines(diff: Diff) -> Iterator[str]:
    """Yield a table of the layers, and below it what clients transfer."""
    yield _side("old", diff.old)
    yield _side("new", diff.new)
    yield ""
    yield f"{'layer':>7}  {'status':<6} {'size':>9} {'paths':>6}  why"
    for _, group in groupby(diff.layers, key=_row_key):
        yield from _rows([*group])
    for gone in diff.gone:
        if gone.new_layer is None:
            yield _gone_row(gone)
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


def _rows(layers: list[NewLayer]) -> Iterator[str]:
    first, last = layers[0].layer.number, layers[-1].layer.number
    number = str(first) if first == last else f"{first}-{last}"
    size = sum(layer.layer.size for layer in layers)
    paths = sum(len(layer.paths) for layer in layers)
    reason, *others = _reasons(layers)
    yield _row(number, layers[0].status, size, paths, reason)
    yield from (f"{'':34}{other}" for other in others)


def _row(number: str, status: Status, size: int, paths: int, reason: str) -> str:
    return f"{number:>7}  {status:<6} {size_text(size):>9} {paths:>6}  {reason}".rstrip()


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
        reasons = [shown(layer.layer.comment)]
    if layer.old_layer not in {None, layer.layer.number}:
        reasons.append(f"in place of layer {layer.old_layer}")
    return reasons or [""]


def _gone_row(gone: GoneLayer) -> str:
    layer = gone.layer
    new_layers = sorted({path.layer for path in gone.paths if path.layer is not None})
    reason = f"was layer {layer.number}"
    if new_layers:
        reason += f"; part of it is in {', '.join(map(str, new_layers))} now"
    elif not layer.paths and layer.comment:
        reason += f": {shown(layer.comment)}"
    return _row("", Status.GONE, layer.size, len(layer.paths), reason)


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
