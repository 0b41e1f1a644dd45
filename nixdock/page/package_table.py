"""The table of the packages that an update changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from nixdock.page.markup import element, name
from nixdock.page.tables import Cell, Column, Row, table
from nixdock.page.words import UNKNOWN
from nixdock.system.text import counted, size_text
from nixdock.view.update import PackageChange, PackageStatus

__all__ = ["packages_that_change"]

_STYLES: Final = {
    PackageStatus.UPDATED: "new",
    PackageStatus.ADDED: "new",
    PackageStatus.REBUILT: "moved",
    PackageStatus.REMOVED: "gone",
}
# How many packages are seen at once.
_MOST: Final = 12
_MINUS: Final = "\u2212"


def packages_that_change(changes: Iterable[PackageChange]) -> str:
    """Return the tables of `changes`: those that are the cause, and what is only rebuilt."""
    rows = [Row(f"package{number}", change) for number, change in enumerate(changes, 1)]
    causes = [row for row in rows if row.item.status is not PackageStatus.REBUILT]
    rebuilt = [row for row in rows if row.item.status is PackageStatus.REBUILT]
    first, others = causes[:_MOST], causes[_MOST:]
    if not causes:
        first, rebuilt = rebuilt[:_MOST], rebuilt[_MOST:]
    parts = [table("Packages that change", _COLUMNS, first)]
    for label, found in (("more package", others), ("rebuilt package", rebuilt)):
        if found:
            said = counted(len(found), label)
            parts.append(
                element("details", element("summary", said) + table(said, _COLUMNS, found))
            )
    return "\n".join(parts)


def _status(change: PackageChange) -> Cell:
    swatch = element("i", class_=f"swatch {_STYLES[change.status]}")
    return Cell(f"{swatch} {change.status.value}")


def _version(path: str | None, version: str | None) -> Cell:
    return Cell("" if path is None else name(version or UNKNOWN))


def _growth(change: PackageChange) -> Cell:
    growth = change.size_change
    if growth is None:
        return Cell(UNKNOWN)
    sign = "+" if growth > 0 else _MINUS if growth < 0 else ""
    return Cell(f"{sign}{size_text(abs(growth))}", growth)


_COLUMNS: Final[Sequence[Column[PackageChange]]] = (
    Column("package", "Package", lambda change: Cell(name(change.package)), is_head=True),
    Column("status", "Change", _status),
    Column("old", "Old version", lambda change: _version(change.old, change.old_version)),
    Column("new", "New version", lambda change: _version(change.new, change.new_version)),
    Column("growth", "Growth", _growth, is_number=True),
)
