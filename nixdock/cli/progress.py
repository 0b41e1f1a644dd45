"""Progress on standard error: a bar on a terminal, a line for each layer in a log."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import Progress
from nixdock.cli.output import is_standard_output, size_text
from nixdock.system.presence import is_file
from nixdock.system.text import printable

if TYPE_CHECKING:
    import rich.progress

    from nixdock import LayerBlob

__all__ = ["packing_progress", "reading_progress", "say", "wrote"]

_REFRESH: Final = 0.1
_NARROW: Final = 70
_LONGEST_NAME: Final = 30


@contextmanager
def packing_progress(*, quiet: bool) -> Iterator[Progress | None]:
    """Give the argument `progress` of functions that pack layers; the block ends the bar."""
    if quiet or _on_terminal():
        with reading_progress(quiet=quiet) as progress:
            yield progress
    else:
        yield _Lines()


@contextmanager
def reading_progress(*, quiet: bool) -> Iterator[Progress | None]:
    """Give the argument `progress` of functions that read layers: a bar, but only on a terminal."""
    if quiet or not _on_terminal():
        yield None
        return
    bar = _Bar()
    try:
        yield bar
    finally:
        bar.stop()


def say(text: str) -> None:
    """Tell a person what has been done; logs and scripts don't need to know."""
    if _on_terminal():
        click.echo(text, err=True)


def wrote(target: Path, what: str) -> None:
    """Tell a person that a command has written `what` to `target`, and its size if it is a file."""
    if _on_terminal() and not is_standard_output(target):
        size = f", {size_text(target.stat().st_size)}" if is_file(target) else ""
        say(f"wrote {target}: {what}{size}")


def _on_terminal() -> bool:
    """Tell whether a person may be watching standard error."""
    # Nix reads a build's output from a pseudo-terminal and writes it to a log.
    in_nix_build = "NIX_BUILD_TOP" in os.environ and "IN_NIX_SHELL" not in os.environ
    return sys.stderr is not None and sys.stderr.isatty() and not in_nix_build


class _Lines(Progress):
    """A line for each layer."""

    def __init__(self) -> None:
        self._layers = 0

    def start(self, weights: Sequence[int]) -> None:
        self._layers = len(weights)

    def packed(self, index: int, blob: LayerBlob) -> None:
        number = f"{index + 1}/{self._layers}"
        size = size_text(blob.size)
        line = f"layer {number} {blob.digest[:19]} {size} {blob.history.comment}"
        click.echo(printable(line), err=True)


class _Bar(Progress):
    """A bar of the bytes that have been read, with the rate and the time left."""

    def __init__(self) -> None:
        self._bar: rich.progress.Progress | None = None
        self._weights: Sequence[int] = ()
        self._sizes: list[int] = []
        self._packed = 0
        self._name = ""
        self._next = 0.0
        self._lock = threading.Lock()

    def start(self, weights: Sequence[int]) -> None:
        # The bar of an earlier image.
        self.stop()
        self._weights = weights
        self._sizes = [0] * len(weights)
        self._packed = 0
        self._bar = _rich_bar()
        self._bar.add_task("", total=self._total(), layers="", name="")
        self._bar.start()
        self._show()

    def advance(self, index: int, size: int) -> None:
        with self._lock:
            self._sizes[index] = max(self._sizes[index], size)
            self._show()

    def known(self, index: int, blob: LayerBlob) -> None:
        self.packed(index, blob)

    def packed(self, index: int, blob: LayerBlob) -> None:
        with self._lock:
            self._sizes[index] = max(self._sizes[index], self._weights[index])
            self._packed += 1
            self._name = printable(blob.history.comment[:_LONGEST_NAME])
            self._next = 0.0
            self._show()

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _total(self) -> int | None:
        # A layer may turn out to be larger than its weight, which is zero if nothing is known.
        return sum(map(max, self._weights, self._sizes)) if any(self._weights) else None

    def _show(self) -> None:
        now = time.monotonic()
        if self._bar is None or now < self._next:
            return
        self._next = now + _REFRESH
        layers = f"{self._packed}/{len(self._weights)} layers" if self._packed else ""
        self._bar.update(
            self._bar.task_ids[0],
            total=self._total(),
            completed=sum(self._sizes),
            layers=layers,
            name=self._name,
            refresh=True,
        )


def _rich_bar() -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    columns: list[ProgressColumn] = [
        DownloadColumn(),
        BarColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    ]
    if console.width >= _NARROW:
        columns += [
            TextColumn("{task.fields[layers]}"),
            TextColumn("{task.fields[name]}", markup=False),
        ]
    # No refresh thread: worker processes are forked while the bar is shown. What is written to
    # standard output meanwhile must get there, and not to the bar's console.
    return Progress(
        *columns, console=console, transient=True, auto_refresh=False, redirect_stdout=False
    )
