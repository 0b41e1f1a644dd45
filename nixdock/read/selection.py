"""Choosing one image out of those that a file holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nixdock.errors import ImageError, InputError
from nixdock.read.opening import ImageFile, familiar
from nixdock.read.stored import StoredImage

__all__ = ["select_image"]

# Several times what any runtime runs; each one is read.
_MOST_READ: Final = 1000


def select_image(
    file: ImageFile,
    name: str | None = None,
    tag: str | None = None,
    platform: tuple[str, str | None] | None = None,
) -> StoredImage:
    """Return the image of that name and tag; where none is given, the first one.

    Of the images that an index has for several platforms, the one for `platform`, an architecture
    and a variant. Raise InputError that says which images there are, ImageError for one of so many
    layers that nothing can run it.
    """
    if not file.images:
        raise InputError(f"{file.path} holds no image")
    found = [image for image in file.images if _is_named(image, name, tag)]
    if not found:
        wanted = f"{name or '*'}:{tag or '*'}"
        raise InputError(f"{file.path} holds no image {wanted}, but {_listed(file.images)}")
    if platform is not None and any(image.from_index for image in found):
        found = _for_platform(found, platform) or found
    if name is not None and len({image.config_digest for image in found}) > 1:
        raise InputError(f"{file.path} holds several images {name}: {_listed(found)}; name the tag")
    if len(found[0].layers) > _MOST_READ:
        raise ImageError(
            f"{found[0].place}: it has {len(found[0].layers)} layers, more than {_MOST_READ}"
        )
    return found[0]


def _is_named(image: StoredImage, name: str | None, tag: str | None) -> bool:
    if name is None and tag is None:
        return True
    return any(_matches(text, name, tag) for text in image.names)


def _matches(text: str, name: str | None, tag: str | None) -> bool:
    repository, colon, own_tag = text.rpartition(":")
    if not colon or "/" in own_tag:
        # In a layout, the name of an image is often but its tag.
        repository, own_tag = "", text
    same_name = not repository or name is None or repository == familiar(name.lower())
    return same_name and (tag is None or own_tag == tag)


def _for_platform(
    images: Sequence[StoredImage], platform: tuple[str, str | None]
) -> list[StoredImage]:
    architecture, variant = platform
    same = [image for image in images if image.config.architecture == architecture]
    exact = [image for image in same if (image.config.variant or None) == variant]
    return exact or same


def _listed(images: Sequence[StoredImage]) -> str:
    names = [name for image in images for name in image.names or (image.config_digest,)]
    return ", ".join(dict.fromkeys(names))
