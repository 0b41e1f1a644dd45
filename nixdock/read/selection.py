"""Select one of the images in a file: the rules are the same for every command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from nixdock.errors import ImageError, InputError
from nixdock.oci.descriptor import Platform
from nixdock.oci.platforms import best_fitting, platform_text
from nixdock.read.opening import ImageFile, familiar_name
from nixdock.read.stored import StoredImage

__all__ = [
    "images_for",
    "is_among_others",
    "is_of_several",
    "named_images",
    "select_image",
    "select_images",
    "select_only_image",
]

# Several times as many as any runtime accepts; merging reads each of them.
_MOST_LAYERS: Final = 1000


def select_image(
    file: ImageFile,
    name: str | None = None,
    tag: str | None = None,
    platform: Platform | None = None,
    default: Callable[[], Platform] = Platform,
) -> StoredImage:
    """Return the first image with that name and tag, None being any, for `platform`.

    What the index states about an image's platform counts more than its config. Without a
    platform, images for several platforms are chosen from as for the one that `default` gives,
    linux/amd64, and an image for a single one is taken whatever it is.

    Raise InputError if no image matches, if none is for the platform, or if several images match
    `name`; raise ImageError if the image has more layers than any runtime accepts.
    """
    if not file.images:
        raise InputError(f"{file.path} has no images", path=file.path)
    matching = [image for image in file.images if _is_named(image, name, tag)]
    if not matching:
        raise InputError(
            f"{file.path} has no image {name or '*'}:{tag or '*'}; it has {_listed(file.images)}",
            path=file.path,
        )
    matching = _for_platform(file, matching, platform, default)
    if name is not None and _distinct(matching) > 1:
        raise InputError(
            f"{file.path} has several images {name}: {_listed(matching)}; specify the tag",
            path=file.path,
        )
    image = matching[0]
    if len(image.layers) > _MOST_LAYERS:
        raise ImageError(
            f"{file.path}: {image.place}: the image has {len(image.layers)} layers, but may have at"
            f" most {_MOST_LAYERS}",
            path=file.path,
            place=image.place,
        )
    return image


def select_images(file: ImageFile, platform: Platform | None = None) -> list[StoredImage]:
    """Return all images that a runtime could choose, from one index or side by side.

    With `platform`, return those for it. What an index says of an entry does not count, only
    whether it leads to an image: readers differ in what they choose. Raise what `select_image`
    raises, and InputError if there are several images that have different names.
    """
    apart = {(image.index and image.index.digest, image.names) for image in file.images}
    if len(apart) > 1:
        raise InputError(
            f"{file.path} has {len(apart)} images: {_listed(file.images)}; name one of them",
            path=file.path,
        )
    chosen = file.images
    if platform is not None and chosen:
        chosen = tuple(_for_platform(file, chosen, platform))
    return [select_image(replace(file, images=(image,))) for image in chosen] or [
        select_image(file, platform=platform)
    ]


def is_of_several(file: ImageFile, image: StoredImage) -> bool:
    """Tell whether an image is one of several that `select_images` chooses from.

    The others need not be in the file: a copy of an image may have the whole index.
    """
    return len(file.images) > 1 or (image.index is not None and len(image.index.platforms) > 1)


def is_among_others(file: ImageFile, image: StoredImage) -> bool:
    """Tell whether a file has images beside `image` that are not the same for other platforms."""
    return any(
        other.config_digest != image.config_digest
        and (other.names != image.names or other.platform == image.platform)
        for other in file.images
    )


def named_images(file: ImageFile, name: str) -> list[StoredImage]:
    """Return the images that an image location names: by a tag, or by a name with a tag."""
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return [image for image in file.images if any(_has_tag(own, name) for own in image.names)]
    familiar = familiar_name(f"{repository}:{tag}")
    return [image for image in file.images if familiar in map(familiar_name, image.names)]


def _has_tag(name: str, tag: str) -> bool:
    return name == tag or name.endswith(f":{tag}") or familiar_name(name) == f"{tag}:latest"


def select_only_image(
    file: ImageFile,
    platform: Platform | None = None,
    default: Callable[[], Platform] = Platform,
) -> StoredImage:
    """Return the only image for `platform`, chosen as by `select_image`.

    Raise InputError if there is no such image or more than one.
    """
    images = _for_platform(file, file.images, platform, default) if file.images else []
    if _distinct(images) != 1:
        raise InputError(
            f"{file.path} contains {len(images)} images; specify a file with a single image",
            path=file.path,
        )
    return select_image(file, platform=platform, default=default)


def images_for(file: ImageFile, platform: Platform | None) -> ImageFile:
    """Return the file with only its images for `platform`; None is any.

    Raise InputError if there are none.
    """
    if platform is None or not file.images:
        return file
    return replace(file, images=tuple(_for_platform(file, file.images, platform)))


def _distinct(images: Sequence[StoredImage]) -> int:
    return len({image.config_digest for image in images})


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
    file: ImageFile,
    images: Sequence[StoredImage],
    wanted: Platform | None,
    default: Callable[[], Platform] = Platform,
) -> list[StoredImage]:
    """Return the images for `wanted`, best variant only; raise InputError if there are none."""
    if wanted is None and len({image.platform for image in images}) == 1:
        return list(images)
    choices = [(image.platform, image) for image in images]
    wanted = wanted or default()
    chosen = best_fitting(choices, wanted)
    if not chosen:
        existing = ", ".join(dict.fromkeys(platform_text(image.platform) for image in images))
        raise InputError(
            f"{file.path} has no image for {platform_text(wanted)}; it has images for"
            f" {existing}: choose one of these platforms",
            path=file.path,
        )
    # Versions of an OS differ, but nothing says which one is wanted: the first one counts.
    version = chosen[0][0].os_version
    return [image for platform, image in chosen if platform.os_version == version]


def _listed(images: Sequence[StoredImage]) -> str:
    names = [name for image in images for name in image.names or (image.config_digest,)]
    return ", ".join(dict.fromkeys(names))
