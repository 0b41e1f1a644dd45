"""Reading the packages of an image from its layers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.errors import ImageError
from nixdock.nix.closure import PathInfo
from nixdock.nix.store_path import DEFAULT_STORE_DIR, StorePath
from nixdock.read.merging import merged_tree
from nixdock.read.nix_store import read_image_store
from nixdock.sbom.bill import BasePart
from nixdock.sbom.system_packages import read_base_part

if TYPE_CHECKING:
    from nixdock.read.stored_layer import StoredLayer

__all__ = ["Contents", "read_layers"]

log = logging.getLogger(__name__)

_OWN: Final = "nixdock: "


class Contents(Struct, frozen=True):
    """The store paths of an image or closure, and what lies below them.

    `with_references` are the paths whose references are known.
    """

    infos: Mapping[StorePath, PathInfo]
    with_references: Collection[StorePath]
    base: BasePart | None = None

    def above(self, lower: Contents) -> Contents:
        """Return the contents of an image that has `lower` as its base; these infos count more."""
        return Contents(
            {**lower.infos, **self.infos},
            {*lower.with_references, *self.with_references},
            lower.base,
        )


def read_layers(layers: Sequence[StoredLayer], store_dir: str = DEFAULT_STORE_DIR) -> Contents:
    """Return what is in the layers of an image, bottom to top; each is read and verified.

    The references of a store path are known if the image has a Nix database with it. Layers that
    nixdock has not made are searched for the packages of a distribution. Raise ImageError if a
    layer or a database is damaged; log a warning for a Nix database whose format is not known.
    """
    store = read_image_store(layers, store_dir, _pass_over)
    registered = {info.path: info for info in store.registered or ()}
    paths = store.paths | store.damaged
    infos = {path: registered.get(path, PathInfo(path)) for path in paths}
    return Contents(infos, paths & registered.keys(), _base_part(layers))


def _pass_over(message: str) -> None:
    log.warning("%s; so the references of store paths are not known", message)


def _base_part(layers: Sequence[StoredLayer]) -> BasePart | None:
    foreign = [layer for layer in layers if not layer.history.created_by.startswith(_OWN)]
    if not foreign:
        return None
    # `read_layers` has verified them.
    with merged_tree(foreign, verified=False) as tree:
        # Other tools make images of store paths, too.
        if tree.root.children.keys() <= {b"nix"}:
            return None
        try:
            return read_base_part(tree, tuple(layer.diff_id for layer in foreign))
        except ImageError as error:
            # A spec and its base image are read at once.
            error.path = foreign[-1].path or None
            if error.path:
                error.args = (f"{error.path}: {error}",)
            raise
