"""Select one of the images in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nixdock.errors import ImageError, InputError
from nixdock.read.opening import ImageFile, familiar_name
from nixdock.read.stored import StoredImage

__all__ = ["select_image"]

# Several times as many as any runtime accepts; merging reads each of them.
_MOST_LAYERS: Final = 1000


def select_image(
    file: ImageFile,
    name: str | None = None,
    tag: str | None = None,
    platform: tuple[str, str | None] | None = None,
) -> StoredImage:
    """Return the first image with that name and tag; None matches any.

    If an index has images for several platforms, prefer those for `platform`, an architecture and
    a variant. Raise InputError if no image matches, or if several images match `name`; raise
    ImageError if the image has more layers than any runtime accepts.
    """
    if not file.images:
        raise InputError(f"{file.path} has no images", path=file.path)
    matching = [image for image in file.images if _is_named(image, name, tag)]
    if not matching:
        raise InputError(
            f"{file.path} has no image {name or '*'}:{tag or '*'}; it has {_listed(file.images)}",
            path=file.path,
        )
    if platform is not None and any(image.from_index for image in matching):
        matching = _for_platform(matching, platform) or matching
    if name is not None and len({image.config_digest for image in matching}) > 1:
        raise InputError(
            f"{file.path} has several images {name}: {_listed(matching)}; specify the tag",
            path=file.path,
        )
    image = matching[0]
    if len(image.layers) > _MOST_LAYERS:
        raise ImageError(
            f"{image.place}: the image has {len(image.layers)} layers, but may have at most"
            f" {_MOST_LAYERS}",
            place=image.place,
        )
    return image


def _is_named(image: StoredImage, name: str | None, tag: str | None) -> bool:
    if name is None and tag is None:
        return True
    return any(_matches(text, name, tag) for text in image.names)


def _matches(text: str, name: str | None, tag: str | None) -> bool:
    repository, colon, own_tag = text.rpartition(":")
    if not colon or "/" in own_tag:
        # In a layout, the name of an image is often only its tag.
        repository, own_tag = "", text
    same_name = not repository or name is None or repository == familiar_name(name.lower())
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
