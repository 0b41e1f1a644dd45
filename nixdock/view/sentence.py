"""An update in one sentence, for reviewers: how much moves, and for which packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from nixdock.layering.package_keys import split_name
from nixdock.system.text import listed, size_text
from nixdock.view.update import PackageStatus

if TYPE_CHECKING:
    from nixdock.view.update import PackageChange, UpdateView

__all__ = ["ARROW", "change_text", "moved_text", "share_text", "update_sentence"]

ARROW: Final = "\u2192"
_MOST_NAMED: Final = 3
_VERBS: Final = {
    PackageStatus.ADDED: "is new",
    PackageStatus.REMOVED: "is gone",
    PackageStatus.REBUILT: "is rebuilt",
}


def update_sentence(update: UpdateView, named: Callable[[str], str] = str) -> str:
    """Return what an update moves and why, as in: app 1.9 → 2.0, libc 2.36 → 2.37.

    `named` says how the names and versions of packages are written. They are parts of store paths,
    so nothing in them has to be escaped for a terminal.
    """
    moved = moved_text(update)
    if not update.registry.size and not update.packages:
        return f"an update moves {moved}"
    # The outputs of a package change together, and what is rebuilt is so because something else is.
    changes = [change for change in update.packages if change.status is not PackageStatus.REBUILT]
    app = {*update.new.app, *update.old.app}
    ordered = sorted(
        changes or update.packages, key=lambda change: not {change.new, change.old} & app
    )
    texts = list(dict.fromkeys(change_text(change, named) for change in ordered))
    return f"an update moves {moved}: {listed(texts, _MOST_NAMED) or 'no package changes'}"


def moved_text(update: UpdateView) -> str:
    """Return how much an update transfers from a registry, of how much."""
    moved, size = update.registry.size, update.new.size
    if not moved:
        return "nothing"
    if size is None:
        return size_text(moved)
    return f"{size_text(moved)} of {size_text(size)} ({share_text(moved, size)})"


def share_text(part: int, whole: int) -> str:
    """Return a share in percent, with two digits or so: 0.13 %, 1.3 %, 13 %."""
    if not part or not whole:
        return "0 %"
    # Hundredths of a percent, as integers: rounding is the same everywhere.
    hundredths = (2 * 10_000 * part + whole) // (2 * whole)
    if hundredths == 0:
        return "less than 0.01 %"
    if hundredths < 100:
        return f"0.{hundredths:02} %"
    if hundredths < 1000:
        tenths = (hundredths + 5) // 10
        return f"{tenths // 10}.{tenths % 10} %"
    return f"{(hundredths + 50) // 100} %"


def change_text(change: PackageChange, named: Callable[[str], str] = str) -> str:
    """Return the change of a package in a few words: app 1.9 → 2.0, or curl is new."""
    name = (change.new or change.old or "").rpartition("/")[2][33:]
    package = named(split_name(name)[0])
    if change.status is PackageStatus.UPDATED:
        old, new = (named(version or "?") for version in (change.old_version, change.new_version))
        return f"{package} {old} {ARROW} {new}"
    return f"{package} {_VERBS[change.status]}"
