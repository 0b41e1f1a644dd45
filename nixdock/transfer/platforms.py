"""Choosing the image for a platform from an index, before anything else of it is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from msgspec import Struct

from nixdock.errors import ImageError, InputError
from nixdock.oci.attestation import ATTESTATION_TYPE
from nixdock.oci.descriptor import Blob, Platform
from nixdock.oci.descriptor_budget import MOST_IN_DOCUMENT
from nixdock.oci.documents import ConfigDocument, PlatformDocument
from nixdock.oci.media_types import CONFIG_MEDIA_TYPES, INDEX_MEDIA_TYPES, MANIFEST_MEDIA_TYPES
from nixdock.oci.platforms import best_fitting, platform_text
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.transfer.source import Source
from nixdock.transfer.tree import MOST_NESTING, parse_index, parse_manifest, read_document

__all__ = ["choose", "completed_platform", "platform_of"]


class _Budget(Struct):
    """How many descriptors may still be looked at: indexes of indexes could have any number."""

    left: int = MOST_IN_DOCUMENT

    def take(self, source: Source, descriptors: int) -> None:
        self.left -= descriptors
        if self.left < 0:
            raise ImageError(
                f"{source.place} has more than {MOST_IN_DOCUMENT} descriptors", place=source.place
            )


def choose(
    source: Source,
    manifest: Blob,
    wanted: Platform | None,
    default: Callable[[], Platform] = Platform,
) -> Blob:
    """Return the manifest of the image for `wanted`; the rules are those of `select_image`.

    `default` gives the platform of several that is meant if none is wanted. Configs are only read
    where the index does not state the platform. Raise InputError if no image is for that platform.
    """
    if wanted is None and manifest.media_type not in INDEX_MEDIA_TYPES:
        return manifest
    found = list(_candidates(source, manifest, None, 0, _Budget()))
    distinct = {platform for platform, _ in found}
    if wanted is None and len(distinct) == 1:
        return found[0][1]()
    wanted = wanted or default()
    fitting = best_fitting(found, wanted)
    if not fitting:
        existing = ", ".join(dict.fromkeys(platform_text(platform) for platform, _ in found))
        raise InputError(
            f"{source.place} has no image for {platform_text(wanted)} in"
            f" {manifest.digest}; it has images for {existing or 'no platform'}: choose one of"
            " these platforms"
        )
    return fitting[0][1]()


def _candidates(
    source: Source,
    manifest: Blob,
    stated: PlatformDocument | None,
    depth: int,
    budget: _Budget,
) -> Iterator[tuple[Platform, Callable[[], Blob]]]:
    """Yield the images below a manifest or index with their platforms, not all fetched yet."""
    index = parse_index(manifest)
    if index is None:
        yield completed_platform(stated, platform_of(source, manifest)), lambda: manifest
        return
    if depth >= MOST_NESTING:
        raise ImageError(f"{source.place}: indexes are nested more than {MOST_NESTING} deep")
    budget.take(source, len(index.manifests))
    for child in index.manifests:
        platform = child.platform or stated
        if ATTESTATION_TYPE in (child.annotations or {}):
            continue
        is_stated = platform is not None and platform.os and platform.architecture
        if child.media_type in MANIFEST_MEDIA_TYPES and is_stated:
            yield completed_platform(platform, None), partial(source.manifest, child)
        elif child.media_type in MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES:
            yield from _candidates(source, source.manifest(child), platform, depth + 1, budget)


def platform_of(source: Source, manifest: Blob) -> Platform | None:
    """Return the platform that the config of an image states, or None for another artifact."""
    config = parse_manifest(manifest).config
    if config.media_type not in CONFIG_MEDIA_TYPES:
        return None
    data = read_document(source, config)
    name = f"the config {config.digest}"
    document = converted(parse_json(data, name), ConfigDocument, name)
    return Platform(
        document.architecture, document.os, document.variant or None, document.os_version or None
    )


def completed_platform(stated: PlatformDocument | None, own: Platform | None) -> Platform:
    """Return the platform that an index states, completed by what the config states."""
    own = own or Platform("", "")
    if stated is None:
        return own
    return Platform(
        stated.architecture or own.architecture,
        stated.os or own.os,
        stated.variant or own.variant,
        stated.os_version or own.os_version,
    )
