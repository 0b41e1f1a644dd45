"""What the scripts of an image find besides its files."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from nixdock.rootfs.confinement import Confinement
from nixdock.rootfs.store_view import StoreView

__all__ = ["Surroundings"]


class Surroundings(Struct, frozen=True):
    """The machine as scripts find it.

    They are confined as `confinement` says, and find the Nix database that is below the directory
    `database`. Their store is this machine's, or what `view` says.
    """

    confinement: Confinement = Confinement.REQUIRED
    database: Path | None = None
    view: StoreView | None = None
