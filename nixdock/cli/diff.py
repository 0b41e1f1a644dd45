"""`nixdock diff`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Final

import click
import orjson

from nixdock.cli.progress import size_text
from nixdock.diff import (
    Diff,
    GoneLayer,
    NewLayer,
    Planning,
    Side,
    Status,
    Transfer,
    compare_sides,
    read_side,
)
from nixdock.errors import NixdockError
from nixdock.layering import DEFAULT_STRATEGY, Layering, LayeringOptions
from nixdock.system.text import counted, shown

__all__ = ["command"]

_FILE: Final = click.Path(path_type=Path)
_SIDE: Final = click.Path(path_type=Path, allow_dash=True)
_MOST_REASONS: Final = 3
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)", re.ASCII)
_UNITS: Final = {"": 1, "b": 1} | {
    f"{prefix}{unit}": base**power
    for power, prefix in enumerate("kmgt", 1)
    for unit, base in (("b", 1000), ("ib", 1024))
}


def _bytes(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Read a number of bytes, with a decimal or binary unit."""
    if value is None:
        return None
    found = _SIZE.fullmatch(value.strip())
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise click.BadParameter(f"{value!r} is not a size: expected bytes, or such as 50MB, 1GiB")
    return int(Decimal(found[1]) * unit)


@click.command("diff")
@click.argument("old", type=_SIDE)
@click.argument("new", type=_SIDE)
@click.option(
    "--fail-over",
    "most",
    callback=_bytes,
    metavar="SIZE",
    help="Exit with 1 if a registry transfers more, such as 50MB or 1GiB.",
)
@click.option(
    "--architecture", help="Of images for several platforms: which one.  [default: first]"
)
@click.option(
    "--strategy",
    type=click.Choice(["auto", "popularity", "stable"]),
    default=DEFAULT_STRATEGY,
    show_default=True,
    help="How to choose the layers of a graph.",
)
@click.option(
    "--max-layers",
    type=int,
    default=100,
    show_default=True,
    help="Limit of the image that a graph becomes: the top layer counts.",
)
@click.option(
    "--previous", type=_FILE, help="Plan file or image on which NEW, a graph, is planned."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    old: Path,
    new: Path,
    *,
    most: int | None,
    architecture: str | None,
    strategy: str,
    max_layers: int,
    previous: Path | None,
    as_json: bool,
) -> None:
    """Show what an update from OLD to NEW transfers, and why.

    Each of them is an image in any form, a plan file of `nixdock plan -o`, or a graph, which is
    planned first.

    Registries, containerd and Podman transfer the layers whose digests are not among the old ones,
    Docker's classic storage all layers from the first that differs. Of images these are the blobs'
    sizes, with the config and the manifest if they differ; an index of several platforms and HTTP's
    headers are not counted. The layers of a docker-archive count as they are in it, though pushing
    it may compress them. Of plans and graphs it is the size of the NARs, and layers are compared by
    their store paths, as they are between an image and a plan.
    """
    if old == new == Path("-"):
        raise click.UsageError("standard input can't be both OLD and NEW")
    if previous is not None and strategy != "stable":
        raise click.UsageError("--previous is for --strategy stable")
    planning = Planning(Layering(strategy), max_layers)
    found = compare_sides(
        read_side(old, planning, architecture),
        read_side(new, _continuing(planning, previous), architecture),
    )
    click.echo(_document(found) if as_json else "\n".join(_lines(found)))
    total = found.transfers.registry.total
    if most is not None and total > most:
        raise NixdockError(
            f"{new}: a registry transfers {size_text(total)} ({total} bytes) for the update, more"
            f" than --fail-over allows, {size_text(most)} ({most} bytes)"
        )


def _continuing(planning: Planning, previous: Path | None) -> Planning:
    if previous is None:
        return planning
    from nixdock.build.previous import read_previous  # noqa: PLC0415 (one option's)

    options = LayeringOptions(previous=read_previous(previous))
    return Planning(Layering(planning.layering.strategy, options), planning.max_layers)


def _document(diff: Diff) -> bytes:
    return orjson.dumps(diff.document(), option=orjson.OPT_INDENT_2)


def _lines(diff: Diff) -> Iterator[str]:
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
        yield f"left out: layers without store paths, of which a plan knows nothing: {numbers}"
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
    """Return what neighbours have in common that share a row: they are where they were."""
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
    for other in others:
        yield f"{'':34}{other}"


def _row(number: str, status: Status, size: int, paths: int, reason: str) -> str:
    return f"{number:>7}  {status:<6} {size_text(size):>9} {paths:>6}  {reason}".rstrip()


def _reasons(layers: list[NewLayer]) -> list[str]:
    layer = layers[0]
    if layer.status is not Status.NEW:
        moved = layer.status is Status.MOVED
        reasons = [f"from {layer.old_layer}"] if moved else []
        if layer.fetched_by_docker:
            reasons.append("classic Docker fetches it, too")
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
    moved = sorted({p.layer for p in gone.paths if p.layer is not None})
    reason = f"was layer {layer.number}"
    if moved:
        reason += f"; part of it is in {', '.join(map(str, moved))} now"
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
