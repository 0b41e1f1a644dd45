"""One side of a comparison: layers with the store paths that they hold."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nixdock.nix.store_path import StorePath

__all__ = ["Basis", "Document", "Side", "SideKind", "SideLayer", "basis_of"]


class SideKind(StrEnum):
    """What a side was read from."""

    IMAGE = "image"
    PLAN = "plan"
    GRAPH = "graph"


@dataclass(frozen=True, slots=True)
class SideLayer:
    """A layer by its number, from 1 at the bottom.

    `size` is that of the blob in an image, and of the NARs otherwise, in bytes; a plan knows no
    digests. `comment` is how an image's history names the layer.
    """

    number: int
    paths: tuple[StorePath, ...]
    size: int
    digest: str | None = None
    diff_id: str | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A config or manifest, as a registry has it."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Side:
    """An image, a plan or a planned graph; only an image has documents."""

    origin: str
    kind: SideKind
    layers: tuple[SideLayer, ...]
    config: Document | None = None
    manifest: Document | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "origin": self.origin,
            "kind": self.kind.value,
            "layers": len(self.layers),
            "size": sum(layer.size for layer in self.layers),
            "config_digest": self.config and self.config.digest,
            "digest": self.manifest and self.manifest.digest,
        }


class Basis(StrEnum):
    """What makes two layers the same."""

    DIGEST = "digest"
    DIFF_ID = "diff_id"
    STORE_PATHS = "store_paths"

    @property
    def identity(self) -> Callable[[SideLayer], Hashable]:
        """The function that gives a layer's identity."""
        match self:
            case Basis.DIGEST:
                return lambda layer: layer.digest
            case Basis.DIFF_ID:
                return lambda layer: layer.diff_id
            case Basis.STORE_PATHS:
                # In their order, as it is that of the tar.
                return lambda layer: layer.paths


def basis_of(old: Side, new: Side) -> Basis:
    """Return what the layers of both sides can be compared by."""
    if not old.kind is new.kind == SideKind.IMAGE:
        return Basis.STORE_PATHS
    if old.manifest and new.manifest:
        return Basis.DIGEST
    # A docker-archive has its layers as they are before they are compressed for a registry.
    return Basis.DIFF_ID
