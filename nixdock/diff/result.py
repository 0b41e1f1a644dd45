"""The result of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nixdock.diff.side import Basis, Side, SideLayer

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
    """The state of a layer or store path after the update: `MOVED` is in another place."""

    NEW = "new"
    GONE = "gone"
    KEPT = "kept"
    MOVED = "moved"


class Cause(StrEnum):
    """Why a layer differs from the one that it replaces.

    FILES is the cause in layers without store paths, of which no more is known.
    """

    NEW = "new"
    ARRIVED = "arrived"
    GONE = "gone"
    LEFT = "left"
    ORDER = "order"
    BYTES = "bytes"
    FILES = "files"


class Change(Struct, frozen=True):
    """One difference between a layer and the one that it replaces.

    `path` is new, arrived from or left for another `layer`, or is gone. `replaces` is the path of
    the same package that a new path replaces. `path` is None if only the order or the bytes differ,
    and for layers without store paths: one that is new itself, or one with other files.
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
        """Describe the change of the layer."""
        name = self.path.name if self.path else "the layer"
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
                return "the same store paths with different bytes"
            case Cause.FILES:
                return "different bytes"

    def of_neighbour(self) -> str:
        """Describe the change for a store path of the layer that is unchanged."""
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
                return "its layer has the same store paths with different bytes"
            case Cause.FILES:
                return "its layer has different bytes"

    @property
    def _in_place(self) -> str:
        if self.replaces is None or self.path is None:
            return ""
        same = self.replaces.name == self.path.name
        return f", in place of {'another build' if same else self.replaces.name}"


class PathStatus(Struct, frozen=True):
    """The status of a store path in a layer.

    `layer` is the number of its layer on the other side, if any. `reason` says why an old store
    path is transferred again, if it is. `replaces` is the old path of the package of a new path.
    """

    path: StorePath
    status: Status
    layer: int | None = None
    replaces: StorePath | None = None
    reason: str | None = None

    def document(self, layer_key: str) -> dict[str, Any]:
        """Return the JSON object; `layer_key` is the key of the layer on the other side."""
        return {
            "path": self.path,
            "status": self.status.value,
            layer_key: self.layer,
            "replaces": self.replaces,
            "reason": self.reason,
        }


class NewLayer(Struct, frozen=True):
    """A layer of the new side.

    `old_layer` is the number of the same layer on the old side or, for a new layer, of the layer
    that it replaces. `fetched` is true if registries, containerd and Podman transfer the layer,
    `fetched_by_docker` if Docker's classic storage does. `changes` is empty unless it is new.
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


class GoneLayer(Struct, frozen=True):
    """A layer only on the old side; `new_layer` is the number of its replacement, if any."""

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


class Transfer(Struct, frozen=True):
    """What a client with the old image fetches: the number of layers, and bytes; each blob once."""

    layers: int
    layer_bytes: int
    config_bytes: int
    manifest_bytes: int

    @property
    def total(self) -> int:
        """The number of all bytes."""
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


class Transfers(Struct, frozen=True):
    """What an update transfers, by client.

    Registries, containerd and Podman identify a layer by its digest; Docker's classic storage
    fetches all layers from the first one that differs.
    """

    registry: Transfer
    docker: Transfer

    @property
    def containerd(self) -> Transfer:
        """What containerd fetches: the same, as it keeps the blobs of layers."""
        return self.registry

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "registry": self.registry.document(),
            "containerd": self.containerd.document(),
            "docker": self.docker.document(),
        }


class Diff(Struct, frozen=True):
    """The comparison of two sides: all layers of the new side, and those only on the old side.

    `unplanned` are an image's layers without store paths; they are left out of a comparison with a
    plan or graph, which has no such layers.
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
        statuses: dict[StorePath, Status] = {}
        for path_status in self._path_statuses():
            # A path in several layers is kept if one of them keeps it.
            if statuses.get(path_status.path) is not Status.KEPT:
                statuses[path_status.path] = path_status.status
        counts = Counter(statuses.values())
        return {status: counts[status] for status in Status}

    def _path_statuses(self) -> Iterator[PathStatus]:
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
            "size_of": "blob" if self.new.kind.has_blobs else "nar",
            "transfers": self.transfers.document(),
            "paths": {status.value: count for status, count in self.path_counts().items()},
            "layers": [layer.document() for layer in self.layers],
            "gone": [layer.document() for layer in self.gone],
            "unplanned": [layer.number for layer in self.unplanned],
        }
