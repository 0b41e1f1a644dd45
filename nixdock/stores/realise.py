"""Letting Nix build or substitute what no store has."""

from __future__ import annotations

from collections.abc import Iterable

from nixdock.errors import StoreError
from nixdock.system.commands import run_command
from nixdock.system.text import shown

__all__ = ["realise"]


def realise(paths: Iterable[str]) -> None:
    """Run `nix-store --realise` for derivations, whose outputs it builds, or store paths.

    Raise StoreError if Nix fails, and ToolError if there is no Nix.
    """
    result = run_command(["nix-store", "--realise", *paths])
    if result.status:
        lines = result.reason().splitlines() or [""]
        raise StoreError(f"nix-store --realise failed: {shown(lines[-1], 1000)}")
