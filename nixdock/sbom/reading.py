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

    The references of a store path are known if the image has a Nix database with it. All layers
    with other files are searched for the packages of a distribution, whoever has made them: scripts
    install packages, too, and what an image says of its layers need not be true. Raise ImageError
    if a layer or a database is damaged; log a warning for a Nix database whose format is not known.
    """
    store = read_image_store(layers, store_dir, _pass_over)
    registered = {info.path: info for info in store.registered or ()}
    paths = store.paths | store.damaged
    infos = {path: registered.get(path, PathInfo(path)) for path in paths}
    return Contents(infos, paths & registered.keys(), _base_part(layers, store.others))


def _pass_over(message: str) -> None:
    log.warning("%s; so the references of store paths are not known", message)


def _base_part(layers: Sequence[StoredLayer], others: Collection[int]) -> BasePart | None:
    """Return what is outside of the store, in the layers with the numbers `others`.

    Return None if all of that is nixdock's own.
    """
    if not others:
        return None
    searched = [layers[number] for number in sorted(others)]
    foreign = [layer for layer in layers if not layer.history.created_by.startswith(_OWN)]
    # `read_layers` has verified them.
    with merged_tree(searched, verified=False) as tree:
        try:
            part = read_base_part(tree, tuple(layer.diff_id for layer in foreign or searched))
        except ImageError as error:
            # A spec and its base image are read at once.
            error.path = searched[-1].path or None
            if error.path:
                error.args = (f"{error.path}: {error}",)
            raise
    return part if foreign or part.packages or part.has_unknown else None
