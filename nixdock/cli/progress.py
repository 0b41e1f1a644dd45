"""Progress on standard error: a bar for a terminal, a line per layer for a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final

import click

from nixdock.oci.layer_blob import LayerBlob

__all__ = ["layer_progress", "quiet_option", "size_text"]

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


class _Style(Enum):
    NONE = auto()
    LINES = auto()
    BAR = auto()


@contextmanager
def layer_progress(count: int, *, quiet: bool) -> Iterator[Callable[[int, LayerBlob], None]]:
    """Give the function to call with each packed layer's index and the layer."""
    match _Style.NONE if quiet else _Style.BAR if _is_watched() else _Style.LINES:
        case _Style.NONE:
            yield lambda _index, _layer: None
        case _Style.LINES:
            yield lambda index, layer: click.echo(_line(index, count, layer), err=True)
        case _Style.BAR:
            with _bar(count) as on_layer:
                yield on_layer


def _is_watched() -> bool:
    # What a Nix build writes goes to a pseudo-terminal, and from there to a log.
    in_nix_build = "NIX_BUILD_TOP" in os.environ and "IN_NIX_SHELL" not in os.environ
    return sys.stderr.isatty() and not in_nix_build


def size_text(size: int) -> str:
    """Return a size in bytes for people, in decimal units."""
    value = float(size)
    for unit in _UNITS:
        if value < 999.95 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def _line(index: int, count: int, layer: LayerBlob) -> str:
    return (
        f"layer {index + 1}/{count} {layer.digest[:19]} {size_text(layer.size)}"
        f" {layer.history.comment}"
    )


@contextmanager
def _bar(count: int) -> Iterator[Callable[[int, LayerBlob], None]]:
    from rich.console import Console  # noqa: PLC0415 (only where a terminal watches)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (
        TextColumn("layers"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[last]}"),
    )
    console = Console(stderr=True)
    # Without a refreshing thread: workers are forked while the bar is shown.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("layers", total=count, last="")

        def on_layer(_index: int, layer: LayerBlob) -> None:
            progress.update(task, advance=1, last=layer.history.comment[:40], refresh=True)

        yield on_layer
