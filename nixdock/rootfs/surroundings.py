"""What the scripts of an image find besides its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nixdock.rootfs.absent_paths import AbsentPaths
from nixdock.rootfs.confinement import Confinement

__all__ = ["Surroundings"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine as scripts find it.

    They are confined as `confinement` says, and find the Nix database that is below the directory
    `database`. This machine's store lacks the paths `absent`, which they may want.
    """

    confinement: Confinement = Confinement.REQUIRED
    database: Path | None = None
    absent: AbsentPaths | None = None
