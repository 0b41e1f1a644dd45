"""The entries of an index to be, taken from images and from indexes of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from msgspec import Struct

from nixdock.errors import InputError
from nixdock.oci.attestation import ATTESTATION_TYPE
from nixdock.oci.descriptor import Blob, Platform, without_none
from nixdock.oci.documents import DescriptorDocument, ReferrerDocument
from nixdock.oci.platforms import platform_text
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.transfer.platforms import completed_platform, platform_of
from nixdock.transfer.source import Source
from nixdock.transfer.tree import Tree, parse_index

__all__ = ["IndexEntry", "entries_of", "entry_of"]

_UNKNOWN: Final = "unknown"


class IndexEntry(Struct, frozen=True):
    """A manifest of an index, with its descriptor there; `origin` says where it was found.

    `platform` is that of an image. It is None for what goes along with images, such as BuildKit's
    attestations. `source` has the blobs of `tree`, if there are any to copy.
    """

    origin: str
    platform: Platform | None
    descriptor: Mapping[str, Any]
    tree: Tree
    source: Source | None = None

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return self.tree.manifest.digest

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations in the descriptor."""
        found: Mapping[str, str] = self.descriptor.get("annotations", {})
        return found

    @property
    def manifest_annotations(self) -> Mapping[str, str]:
        """The annotations in the manifest; raise ImageError if they are malformed."""
        manifest = self.tree.manifest
        name = f"the manifest {manifest.digest}"
        return converted(parse_json(manifest.data, name), ReferrerDocument, name).annotations or {}


def entry_of(origin: str, manifest: Blob, platform: Platform) -> IndexEntry:
    """Return the entry of an image whose blobs are there already."""
    descriptor = manifest.descriptor(platform=platform).document()
    return IndexEntry(origin, platform, descriptor, Tree(manifest))


def entries_of(origin: str, source: Source, tree: Tree) -> list[IndexEntry]:
    """Return the entry of an image, or those of an index and of the indexes in it.

    The platform is the one that the index states, or else the image's config. Raise InputError if
    there is no image, or if nothing states the platform of one.
    """
    entries = list(_entries(origin, source, tree, None, None))
    if all(entry.platform is None for entry in entries):
        raise InputError(f"{origin} has no image, but {tree.manifest.digest}, an artifact")
    return entries


def _entries(
    origin: str,
    source: Source,
    tree: Tree,
    descriptor: Mapping[str, Any] | None,
    stated: DescriptorDocument | None,
) -> Iterator[IndexEntry]:
    """Yield the entries of a tree, to which an index refers with `descriptor`.

    `stated` is the nearest descriptor above it that states a platform.
    """
    index = parse_index(tree.manifest)
    if index is None:
        yield _entry(origin, source, tree, descriptor or {}, stated)
        return
    # With all that they say, whether it is known here or not.
    descriptors = orjson.loads(tree.manifest.data)["manifests"] or []
    children = zip(tree.children, index.manifests, descriptors, strict=True)
    for child, document, own in children:
        above = document if document.platform is not None else stated
        yield from _entries(origin, source, child, own, above)


def _entry(
    origin: str,
    source: Source,
    tree: Tree,
    descriptor: Mapping[str, Any],
    stated: DescriptorDocument | None,
) -> IndexEntry:
    manifest = tree.manifest
    own = without_none({**manifest.descriptor().document(), **descriptor})
    if ATTESTATION_TYPE in own.get("annotations", {}):
        return IndexEntry(origin, None, own, tree, source)
    platform = Platform("", "") if stated is None else completed_platform(stated.platform, None)
    is_stated = bool(platform.os and platform.architecture)
    if not is_stated:
        config = platform_of(source, manifest)
        platform = completed_platform(None if stated is None else stated.platform, config)
        if config is None:
            return IndexEntry(origin, None, own, tree, source)
    if platform.os == platform.architecture == _UNKNOWN:
        return IndexEntry(origin, None, own, tree, source)
    if not (platform.os and platform.architecture):
        raise InputError(
            f"{origin}: the image {manifest.digest} does not say for which platform it is, only"
            f" {platform_text(platform)}",
            digest=manifest.digest,
            place=origin,
        )
    if not is_stated or "platform" not in own:
        own["platform"] = platform.document()
    return IndexEntry(origin, platform, own, tree, source)
