"""Assigning names to the images of several files, each name to one image."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from nixdock.errors import InputError
from nixdock.oci.reference import Reference
from nixdock.read.opening import ImageFile
from nixdock.read.stored import StoredImage
from nixdock.system.text import shown

__all__ = ["NamedImage", "named_images"]

log = logging.getLogger(__name__)


class NamedImage(Struct):
    """An image and its names in the merged archive, as NAME:TAG."""

    image: StoredImage
    tags: list[str] = field(default_factory=list)


class _Owner(Struct, frozen=True):
    """The image that has a name, by the digest of its config, and the file that gives the name."""

    digest: str
    file: ImageFile
    from_index: bool


def named_images(files: Iterable[ImageFile]) -> list[NamedImage]:
    """Return the distinct images of all files, and assign each name to one of them.

    The last of several images with a name keeps it, as if the files were loaded one after another.
    Of the images of one index, which share a name for several platforms, the first keeps it.
    """
    images: dict[str, NamedImage] = {}
    owners: dict[str, _Owner] = {}
    for file in files:
        for image in file.images:
            digest = image.config_digest
            images.setdefault(digest, NamedImage(image))
            for tag in _complete_names(image, file):
                _assign(owners, tag, _Owner(digest, file, image.index is not None))
    for tag, owner in owners.items():
        images[owner.digest].tags.append(tag)
    return list(images.values())


def _assign(owners: dict[str, _Owner], tag: str, image: _Owner) -> None:
    """Assign `tag` to `image` unless its owner keeps it; log a warning if they differ."""
    owner = owners.get(tag)
    if owner is not None and owner.digest != image.digest:
        if owner.file is image.file and owner.from_index and image.from_index:
            log.warning(
                "%s has %s for several platforms; the first one keeps the name",
                image.file.path,
                tag,
            )
            return
        log.warning(
            "%s is in %s and in %s; the last one keeps the name",
            tag,
            owner.file.path,
            image.file.path,
        )
    owners[tag] = image


def _complete_names(image: StoredImage, file: ImageFile) -> Iterator[str]:
    """Yield the names that are NAME:TAG; Docker loads no image if any name has another form."""
    for name in image.names:
        try:
            complete = str(Reference.parse(name)) == name
        except InputError:
            complete = False
        if complete:
            yield name
        else:
            log.warning("the name %r in %s is left out: it is not NAME:TAG", shown(name), file.path)
