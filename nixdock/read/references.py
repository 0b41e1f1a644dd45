"""The references of store paths, from the Nix database in an image."""

from __future__ import annotations

import logging

from nixdock.errors import ImageError
from nixdock.nix.stated_references import StatedReferences
from nixdock.read.report import ImageReport
from nixdock.read.stored import StoredImage

__all__ = ["database_references"]

log = logging.getLogger(__name__)


def database_references(image: StoredImage, report: ImageReport) -> StatedReferences | None:
    """Return what the Nix database of an image states, or None if there is none.

    `report` says which layers have one; only these, and those above them, are read. A database that
    can't be read states nothing, and a warning is logged.
    """
    with_database = [i for i, layer in enumerate(report.layers) if layer.has_nix_database]
    if not with_database:
        return None
    from nixdock.read.nix_store import read_image_store  # noqa: PLC0415 (few images have one)

    try:
        registered = read_image_store(image.layers[with_database[0] :]).registered
    except ImageError as error:
        log.warning("the references of the store paths are not known: %s", error)
        return None
    if registered is None:
        return None
    infos = {info.path: info for info in registered}
    return StatedReferences(infos, infos.keys(), "the Nix database in the image")
