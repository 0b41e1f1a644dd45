"""Progress on standard error: a bar on a terminal, a line for each layer in a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import click

from nixdock.cli.output import size_text
from nixdock.oci.layer_blob import LayerBlob
from nixdock.system.text import printable

__all__ = ["layer_progress"]

_OnLayer = Callable[[int, LayerBlob], object]


@contextmanager
def layer_progress(*, quiet: bool) -> Iterator[Callable[[int], _OnLayer] | None]:
    """Give the argument `progress` of `build_image` and `stream_image`; the block ends the bar."""
    if quiet:
        yield None
    elif _on_terminal():
        with ExitStack() as stack:
            yield lambda layers: stack.enter_context(_bar(layers))
    else:
        yield _lines


def _on_terminal() -> bool:
    # Nix reads a build's output from a pseudo-terminal and writes it to a log.
    in_nix_build = "NIX_BUILD_TOP" in os.environ and "IN_NIX_SHELL" not in os.environ
    return sys.stderr.isatty() and not in_nix_build


def _lines(layers: int) -> _OnLayer:
    def on_layer(index: int, layer: LayerBlob) -> None:
        number = f"{index + 1}/{layers}"
        size = size_text(layer.size)
        comment = layer.history.comment
        line = f"layer {number} {layer.digest[:19]} {size} {comment}"
        click.echo(printable(line), err=True)

    return on_layer


@contextmanager
def _bar(layers: int) -> Iterator[_OnLayer]:
    from rich.console import Console  # noqa: PLC0415 (needed on a terminal only)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (
        TextColumn("layers"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[last]}"),
    )
    console = Console(stderr=True)
    # No refresh thread: worker processes are forked while the bar is shown.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("layers", total=layers, last="")

        def on_layer(_index: int, layer: LayerBlob) -> None:
            bar.update(task, advance=1, last=printable(layer.history.comment[:40]), refresh=True)

        yield on_layer
