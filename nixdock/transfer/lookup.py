"""Finding out which image a registry has under a name, before a file is read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from msgspec import Struct

from nixdock.errors import ImageError, InputError, RegistryError
from nixdock.read.opening import read_images
from nixdock.registry.image_files import RegistryFiles, fitting_manifest
from nixdock.registry.manifests import get_manifest
from nixdock.transfer.known import blobs_of

if TYPE_CHECKING:
    from nixdock.oci.descriptor import Platform
    from nixdock.oci.documents import ConfigDocument
    from nixdock.oci.layer_blob import LayerBlob
    from nixdock.registry.repository import Repository

__all__ = ["Seen", "look_at"]

log = logging.getLogger(__name__)


class Seen(Struct, frozen=True):
    """An image that a repository has now; `manifest` is the digest of its manifest.

    `index` is the digest of what the name stands for, which may be an index with the image, and
    `config` is the image's.
    """

    repository: Repository
    name: str
    index: str
    manifest: str
    blobs: tuple[LayerBlob, ...]
    config: ConfigDocument


def look_at(repository: Repository, name: str, platform: Platform) -> Seen | None:
    """Return the image that a tag or digest stands for now, for `platform` if it is an index.

    Return None if there is none, or none that can be understood. Raise RegistryError if the
    registry can't be asked.
    """
    try:
        manifest = get_manifest(repository, name)
        if manifest is None:
            return None
        fitting = fitting_manifest(repository, manifest, platform)
        files = RegistryFiles(repository, fitting, repository.reference(name))
        try:
            images = read_images(files, str(repository.reference(name))).images
        finally:
            files.close()
    except (ImageError, InputError, RegistryError) as error:
        # Without a fitting answer, sending anything would fail as well, but only after packing.
        if isinstance(error, RegistryError) and error.status not in {200, 404}:
            raise
        log.warning("%s is not used: %s", repository.reference(name), error)
        return None
    if len(images) != 1:
        return None
    blobs = tuple(blobs_of(images[0]))
    return Seen(repository, name, manifest.digest, fitting.digest, blobs, images[0].config)
