"""The references of the store paths in an image: from its Nix database, or from its files."""

from __future__ import annotations

import logging
from collections import defaultdict

from nixdock.errors import ImageError
from nixdock.nix.closure import PathInfo
from nixdock.nix.stated_references import StatedReferences
from nixdock.nix.store_path import StorePath, valid_store_paths
from nixdock.read.report import ImageReport
from nixdock.read.stored import StoredImage

__all__ = ["image_references"]

log = logging.getLogger(__name__)

_DATABASE = "the Nix database in the image"
_FILES = "the files in its layers"


def image_references(image: StoredImage, report: ImageReport) -> StatedReferences | None:
    """Return what an image states of its references, or None if it states nothing.

    The uppermost Nix database is believed, if there is one; `report` says in which layer it is, and
    only this layer is read again: references never change, whatever an upper layer does to the
    database. Of store paths that are not in it, the references are those to which their files
    point, as far as the report has searched them. A database that can't be read states nothing, and
    a warning is logged.
    """
    registered = _registered(image, report)
    found = _found(report)
    infos = {path: info for path, info in found.items() if path not in registered} | registered
    if not infos:
        return None
    origins = [_DATABASE] if registered else []
    if found.keys() - registered.keys():
        origins.append(_FILES)
    return StatedReferences(infos, frozenset(infos), " and ".join(origins or [_FILES]))


def _registered(image: StoredImage, report: ImageReport) -> dict[StorePath, PathInfo]:
    layers = zip(image.layers, report.layers, strict=True)
    with_database = [layer for layer, found in layers if found.has_nix_database]
    if not with_database:
        return {}
    from nixdock.read.nix_store import read_image_store  # noqa: PLC0415 (few images have one)

    try:
        store = read_image_store(with_database[-1:])
    except ImageError as error:
        log.warning("the Nix database says nothing about references: %s", error)
        return {}
    return {info.path: info for info in store.registered or ()}


def _found(report: ImageReport) -> dict[StorePath, PathInfo]:
    """Return the store paths in the layers that were searched, with what their files point to."""
    paths = {
        path.hash_part: path
        for layer in report.layers
        for path in valid_store_paths(layer.store_paths)
    }
    references: dict[StorePath, set[StorePath]] = defaultdict(set)
    for layer in report.layers:
        for path in valid_store_paths(layer.store_paths):
            if layer.found is not None:
                named = layer.found.get(path, frozenset())
                references[path] |= {paths[name] for name in named if name in paths} - {path}
    return {
        path: PathInfo(path, references=tuple(sorted(found))) for path, found in references.items()
    }
