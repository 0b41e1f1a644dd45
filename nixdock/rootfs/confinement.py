"""Whether scripts must be confined."""

from __future__ import annotations

from enum import StrEnum
from typing import NoReturn

from nixdock.errors import InputError

__all__ = ["Confinement"]


class Confinement(StrEnum):
    """How far the scripts of a spec are kept from the machine that they run on.

    `REQUIRED` runs them in a sandbox like that of Nix, or not at all. `PREFERRED` runs them with
    all rights of the caller where the system allows no sandbox. `NIX_BUILD` is for builders of
    derivations, which Nix itself confines: scripts get the builder's environment and directories.
    """

    REQUIRED = "required"
    PREFERRED = "preferred"
    NIX_BUILD = "nix-build"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise InputError(f"there is no confinement {value!r}; choose from {', '.join(cls)}")
