"""What a comparison found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nixdock.diff.side import Basis, Side, SideKind, SideLayer

if TYPE_CHECKING:
    from nixdock.nix.store_path import StorePath

__all__ = [
    "Cause",
    "Change",
    "Diff",
    "GoneLayer",
    "NewLayer",
    "PathStatus",
    "Status",
    "Transfer",
    "Transfers",
]


class Status(StrEnum):
    """What became of a layer or a store path; what moved is elsewhere."""

    NEW = "new"
    GONE = "gone"
    KEPT = "kept"
    MOVED = "moved"


class Cause(StrEnum):
    """Why a layer is not the one that it replaces."""

    NEW = "new"
    ARRIVED = "arrived"
    GONE = "gone"
    LEFT = "left"
    ORDER = "order"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between a layer and the one that it replaces.

    `path` is new, has arrived from or left for `layer`, or is gone; `replaces` is the path of the
    same package that a new one stands for. Without a path, the order or the bytes alone differ.
    """

    cause: Cause
    path: StorePath | None = None
    replaces: StorePath | None = None
    layer: int | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "cause": self.cause.value,
            "path": self.path,
            "replaces": self.replaces,
            "layer": self.layer,
            "text": str(self),
        }

    def __str__(self) -> str:
        """Say it for the layer."""
        name = self.path.name if self.path else ""
        match self.cause:
            case Cause.NEW:
                return f"{name} is new{self._in_place}"
            case Cause.ARRIVED:
                return f"{name} was in layer {self.layer}"
            case Cause.GONE:
                return f"{name} is gone"
            case Cause.LEFT:
                return f"{name} is in layer {self.layer} now"
            case Cause.ORDER:
                return "the same store paths in another order"
            case Cause.BYTES:
                return "other bytes of the same store paths"

    def of_neighbour(self) -> str:
        """Say it for a store path that has not changed itself."""
        name = self.path.name if self.path else ""
        match self.cause:
            case Cause.NEW:
                return f"its layer also holds {name}, which is new{self._in_place}"
            case Cause.ARRIVED:
                return f"its layer also holds {name}, which was in layer {self.layer}"
            case Cause.GONE:
                return f"its layer also held {name}, which is gone"
            case Cause.LEFT:
                return f"its layer also held {name}, which is in layer {self.layer} now"
            case Cause.ORDER:
                return "its layer has the same store paths in another order"
            case Cause.BYTES:
                return "its layer has other bytes of the same store paths"

    @property
    def _in_place(self) -> str:
        if self.replaces is None or self.path is None:
            return ""
        same = self.replaces.name == self.path.name
        return f", in place of {'another build' if same else self.replaces.name}"


@dataclass(frozen=True, slots=True)
class PathStatus:
    """What became of a store path, as seen from a layer.

    `layer` is where it is on the other side; `reason` tells why it is sent again, if it is.
    """

    path: StorePath
    status: Status
    layer: int | None = None
    replaces: StorePath | None = None
    reason: str | None = None

    def document(self, other: str) -> dict[str, Any]:
        """Return the JSON object, in which `other` is the key of the layer on the other side."""
        return {
            "path": self.path,
            "status": self.status.value,
            other: self.layer,
            "replaces": self.replaces,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class NewLayer:
    """A layer of the new side.

    `old_layer` is the same layer on the old side or, of a new one, that which it replaces.
    `fetched` tells that clients fetch it which know layers by digest, `fetched_by_docker` that
    Docker's classic storage does.
    """

    layer: SideLayer
    status: Status
    old_layer: int | None
    fetched: bool
    fetched_by_docker: bool
    changes: tuple[Change, ...]
    paths: tuple[PathStatus, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "layer": self.layer.number,
            "status": self.status.value,
            "old_layer": self.old_layer,
            "digest": self.layer.digest,
            "diff_id": self.layer.diff_id,
            "size": self.layer.size,
            "comment": self.layer.comment,
            "fetched": self.fetched,
            "fetched_by_docker": self.fetched_by_docker,
            "changes": [change.document() for change in self.changes],
            "paths": [path.document("old_layer") for path in self.paths],
        }


@dataclass(frozen=True, slots=True)
class GoneLayer:
    """A layer of the old side that the new one has not; `new_layer` is what replaces it, if any."""

    layer: SideLayer
    new_layer: int | None
    paths: tuple[PathStatus, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "layer": self.layer.number,
            "status": Status.GONE.value,
            "new_layer": self.new_layer,
            "digest": self.layer.digest,
            "diff_id": self.layer.diff_id,
            "size": self.layer.size,
            "comment": self.layer.comment,
            "paths": [path.document("new_layer") for path in self.paths],
        }


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a client fetches that has the old image: blobs, each once, and their bytes."""

    layers: int
    layer_bytes: int
    config_bytes: int
    manifest_bytes: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.layer_bytes + self.config_bytes + self.manifest_bytes

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "bytes": self.total,
            "layers": self.layers,
            "layer_bytes": self.layer_bytes,
            "config_bytes": self.config_bytes,
            "manifest_bytes": self.manifest_bytes,
        }


@dataclass(frozen=True, slots=True)
class Transfers:
    """What an update transfers.

    Registries, containerd and Podman know a layer by its digest, wherever it stands; Docker's
    classic storage fetches all layers from the first that differs.
    """

    registry: Transfer
    docker: Transfer

    @property
    def containerd(self) -> Transfer:
        """What containerd fetches, which keeps the blobs of layers."""
        return self.registry

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "registry": self.registry.document(),
            "containerd": self.containerd.document(),
            "docker": self.docker.document(),
        }


@dataclass(frozen=True, slots=True)
class Diff:
    """Two sides compared: each layer of the new one, and those of the old one that it has not.

    `unplanned` are layers of an image that hold no store paths, of which a plan knows nothing;
    they are left out where the other side is no image.
    """

    old: Side
    new: Side
    basis: Basis
    layers: tuple[NewLayer, ...]
    gone: tuple[GoneLayer, ...]
    unplanned: tuple[SideLayer, ...]
    transfers: Transfers

    def path_counts(self) -> dict[Status, int]:
        """Return how many store paths are new, gone, kept and moved."""
        status: dict[StorePath, Status] = {}
        for found in self._paths():
            # One that stands in several layers is where it was if any of them is.
            if status.get(found.path) is not Status.KEPT:
                status[found.path] = found.status
        counts = Counter(status.values())
        return {each: counts[each] for each in Status}

    def _paths(self) -> Iterator[PathStatus]:
        for gone in self.gone:
            yield from (path for path in gone.paths if path.status is Status.GONE)
        for layer in self.layers:
            yield from layer.paths

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "old": self.old.document(),
            "new": self.new.document(),
            "compared_by": self.basis.value,
            "size_of": "blob" if self.new.kind == SideKind.IMAGE else "nar",
            "transfers": self.transfers.document(),
            "paths": {status.value: count for status, count in self.path_counts().items()},
            "layers": [layer.document() for layer in self.layers],
            "gone": [layer.document() for layer in self.gone],
            "unplanned": [layer.number for layer in self.unplanned],
        }
