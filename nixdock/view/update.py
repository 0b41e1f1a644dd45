"""An update as people look at it: two images, what moves between them, and why."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from nixdock.view.model import ImageView

__all__ = ["Needless", "PackageChange", "PackageStatus", "TransferView", "UpdateView"]


class PackageStatus(StrEnum):
    """How a package changes; a `REBUILT` one keeps its name and version."""

    UPDATED = "updated"
    REBUILT = "rebuilt"
    ADDED = "added"
    REMOVED = "removed"


class PackageChange(Struct, frozen=True):
    """The change of a package, of which the outputs count apart: `package` is openssl-dev, too.

    `old` and `new` are the store paths, with their versions, which may be empty, and NAR sizes; of
    an added package, the old ones are None, and of a removed one, the new ones.
    """

    status: PackageStatus
    package: str
    old: str | None = None
    new: str | None = None
    old_version: str | None = None
    new_version: str | None = None
    old_size: int | None = None
    new_size: int | None = None

    @property
    def size_change(self) -> int | None:
        """By how many bytes the NAR grows, or None if a size is not known."""
        old = 0 if self.old is None else self.old_size
        new = 0 if self.new is None else self.new_size
        return None if old is None or new is None else new - old


class Needless(Struct, frozen=True):
    """A new layer with store paths that the old image has, too, so that they move without need.

    `paths` is their number of the layer's `of`, and `size` that of their NARs, if it is known. The
    whole layer moves without need if the two numbers are equal.
    """

    layer: int
    title: str
    paths: int
    of: int
    size: int | None
    reason: str


class TransferView(Struct, frozen=True):
    """What a client with the old image fetches: layers, and bytes, of which each blob once."""

    size: int
    layers: int
    layer_size: int
    config_size: int
    manifest_size: int


class UpdateView(Struct, frozen=True):
    """An update from `old` to `new`, whose layers and store paths have their statuses.

    In `old`, a status says what became of a layer or store path: it is kept, moved or gone.
    `compared_by` is what equal layers share: "digest", "diff_id" or "store_paths". `registry` is
    what registries, containerd and Podman transfer, `docker` what Docker's classic storage does.
    `unplanned` are the numbers of an image's layers that were left out, because the other side is a
    plan, which has no such layers.
    """

    old: ImageView
    new: ImageView
    compared_by: str
    registry: TransferView
    docker: TransferView
    packages: tuple[PackageChange, ...] = ()
    needless: tuple[Needless, ...] = ()
    unplanned: tuple[int, ...] = ()
