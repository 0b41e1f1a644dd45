"""One side of a comparison: layers with their store paths."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from nixdock.nix.stated_references import StatedReferences
    from nixdock.nix.store_path import StorePath
    from nixdock.oci.descriptor import Platform
    from nixdock.read.report import ImageReport

__all__ = ["Basis", "Document", "Side", "SideKind", "SideLayer", "basis_of"]


class SideKind(StrEnum):
    """The kind of file that a side was read from; a spec stands for the image that it describes."""

    IMAGE = "image"
    SPEC = "spec"
    PLAN = "plan"
    GRAPH = "graph"

    @property
    def has_blobs(self) -> bool:
        """Whether the layers of such a side are blobs, which have digests."""
        return self in {SideKind.IMAGE, SideKind.SPEC}


class SideLayer(Struct, frozen=True):
    """A layer; `number` counts from 1 at the bottom.

    `size` is in bytes: the size of an image's blob, or of the NARs in a plan or graph. Only layers
    of images have digests. `comment` describes the layer in the image's history.
    """

    number: int
    paths: tuple[StorePath, ...]
    size: int
    digest: str | None = None
    diff_id: str | None = None
    comment: str = ""


class Document(Struct, frozen=True):
    """A config or manifest: a blob in a registry, with its size in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Side:
    """An image, a plan or a planned graph; only an image, or a spec, has a config and a manifest.

    `origin` is the path that was read, for people. `platform` is that of a spec. `report` is that
    on an image or a spec, and `stated` is what the side states of its store paths' references.
    """

    origin: str
    kind: SideKind
    layers: tuple[SideLayer, ...]
    config: Document | None = None
    manifest: Document | None = None
    platform: Platform | None = None
    report: ImageReport | None = field(default=None, repr=False, compare=False)
    stated: StatedReferences | None = field(default=None, repr=False, compare=False)

    @property
    def stored_size(self) -> int:
        """What a registry stores, in bytes: each layer once, the config and the manifest."""
        blobs = {layer.digest or layer.number: layer.size for layer in self.layers}
        documents = [each.size for each in (self.config, self.manifest) if each is not None]
        return sum(blobs.values()) + sum(documents)

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
    """The property that two layers share if they are the same."""

    DIGEST = "digest"
    DIFF_ID = "diff_id"
    STORE_PATHS = "store_paths"

    @property
    def identity(self) -> Callable[[SideLayer], Hashable]:
        """The function that returns this property of a layer."""
        match self:
            case Basis.DIGEST:
                return lambda layer: layer.digest
            case Basis.DIFF_ID:
                return lambda layer: layer.diff_id
            case Basis.STORE_PATHS:
                # The order matters: it is the order of the tar.
                return lambda layer: layer.paths


def basis_of(old: Side, new: Side) -> Basis:
    """Return a property that the layers of both sides have."""
    if not (old.kind.has_blobs and new.kind.has_blobs):
        return Basis.STORE_PATHS
    if old.manifest and new.manifest:
        return Basis.DIGEST
    # A docker-archive contains uncompressed layers; a registry has them compressed.
    return Basis.DIFF_ID
