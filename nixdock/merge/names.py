"""Which image has which name when the images of several files are put together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nixdock.errors import InputError
from nixdock.oci.reference import Reference
from nixdock.read.opening import ImageFile
from nixdock.read.stored import StoredImage
from nixdock.system.text import shown

__all__ = ["NamedImage", "named_images"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class NamedImage:
    """An image and the names that it keeps, as NAME:TAG."""

    image: StoredImage
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Owner:
    """The image that has a name, by its config's digest, and the file that names it so."""

    digest: str
    file: ImageFile
    from_index: bool


def named_images(files: Iterable[ImageFile]) -> list[NamedImage]:
    """Return the images of all files, equal images as one, each name with one of them.

    Of several images with the same name the last one has it, as when the files are loaded one
    after another. Images that one index has for several platforms share a name: the first has it.
    """
    images: dict[str, NamedImage] = {}
    owners: dict[str, _Owner] = {}
    for file in files:
        for image in file.images:
            digest = image.config_digest
            images.setdefault(digest, NamedImage(image))
            for tag in _complete_names(image, file):
                owner = owners.get(tag)
                if owner is None or owner.digest == digest:
                    owners[tag] = _Owner(digest, file, image.from_index)
                elif owner.file is file and owner.from_index and image.from_index:
                    log.warning(
                        "%s has %s for several platforms; the first one keeps the name",
                        file.path,
                        tag,
                    )
                else:
                    log.warning(
                        "%s is in %s and in %s; the last one has the name",
                        tag,
                        owner.file.path,
                        file.path,
                    )
                    owners[tag] = _Owner(digest, file, image.from_index)
    for tag, owner in owners.items():
        images[owner.digest].tags.append(tag)
    return list(images.values())


def _complete_names(image: StoredImage, file: ImageFile) -> Iterator[str]:
    """Yield an image's names that are NAME:TAG; Docker would load no image if one were not."""
    for name in image.names:
        try:
            complete = str(Reference.parse(name)) == name
        except InputError:
            complete = False
        if complete:
            yield name
        else:
            log.warning("the name %r in %s is left out: it is not NAME:TAG", shown(name), file.path)
