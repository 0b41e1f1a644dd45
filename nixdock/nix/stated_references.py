"""What is stated about the references of store paths, perhaps not of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure, PathInfo
    from nixdock.nix.store_path import StorePath

__all__ = ["StatedReferences"]


class StatedReferences(Struct, frozen=True):
    """Infos of store paths; only those of `known` state the references of their paths.

    `origin` says what stated them, in words that follow "from": "the reference graph".
    """

    infos: Mapping[StorePath, PathInfo]
    known: frozenset[StorePath]
    origin: str

    @classmethod
    def of(cls, closure: Closure, origin: str) -> StatedReferences:
        """Return what a closure states, which is everything."""
        return cls(closure.infos, frozenset(closure.infos), origin)
