"""The packages that an update changes, and the layers that it moves without need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from nixdock.cli.output import size_text
from nixdock.cli.screen import Screen, Style
from nixdock.cli.table import Cell, Column, styled_lines
from nixdock.system.text import counted, listed, shown
from nixdock.view.update import PackageStatus

if TYPE_CHECKING:
    from nixdock.view import Needless, PackageChange, UpdateView

__all__ = ["growth_text", "needless_lines", "package_lines"]

_PACKAGES: Final = (
    Column("package", flexible=True),
    Column("old", flexible=True),
    Column("new", flexible=True),
    Column("size", right=True),
)
_MOST_REBUILT: Final = 8


def package_lines(update: UpdateView, screen: Screen) -> Iterator[str]:
    """Yield a table of the packages that change; those that are merely rebuilt share a line."""
    changes = [c for c in update.packages if c.status is not PackageStatus.REBUILT]
    rebuilt = [c.package for c in update.packages if c.status is PackageStatus.REBUILT]
    if changes or rebuilt:
        yield ""
    if changes:
        yield from styled_lines(_PACKAGES, [_package(change) for change in changes], screen)
    if rebuilt:
        count = counted(len(rebuilt), "package")
        yield f"{count} rebuilt: {listed(rebuilt, _MOST_REBUILT)}"


def needless_lines(update: UpdateView) -> Iterator[str]:
    """Yield a line for each layer that moves without need, and why."""
    if update.needless:
        yield ""
        yield "moves without need:"
        yield from map(_needless, update.needless)


def growth_text(change: PackageChange) -> str:
    """Return by how much a package grows or shrinks, if it does and it is known."""
    size = change.size_change
    if size is None:
        return "?"
    return f"{'-' if size < 0 else '+'}{size_text(abs(size))}" if size else "same"


def _package(change: PackageChange) -> tuple[Cell, ...]:
    style = {PackageStatus.ADDED: Style.NEW, PackageStatus.REMOVED: Style.GONE}.get(change.status)
    # A name without a version has none on both sides, and then a word tells what happened.
    old = "-" if change.old is None else change.old_version or "present"
    new = "-" if change.new is None else change.new_version or "present"
    return (
        Cell(change.package, style),
        Cell(old),
        Cell(new, None if change.new is None else Style.NEW),
        Cell(growth_text(change)),
    )


def _needless(needless: Needless) -> str:
    what = f"layer {needless.layer} ({shown(needless.title)})"
    if needless.paths < needless.of:
        what = f"{needless.paths} of the {needless.of} store paths of {what}"
    size = "" if needless.size is None else f", {size_text(needless.size)}"
    return f"  {what}{size}: {needless.reason}"
