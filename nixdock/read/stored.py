"""Stored images: their documents, which have been read, and their layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from msgspec import Struct

from nixdock.oci.attestation import ATTESTATION_TYPE
from nixdock.oci.descriptor import Platform
from nixdock.oci.digests import sha256_digest
from nixdock.oci.documents import ConfigDocument, IndexDocument, PlatformDocument
from nixdock.read.stored_layer import StoredLayer

__all__ = ["StoredImage", "StoredIndex", "has_image_layers", "with_all_names"]


class StoredIndex(Struct, frozen=True):
    """An index of images, by its digest, its annotations, and the platforms that it states."""

    digest: str
    annotations: Mapping[str, str]
    platforms: frozenset[PlatformDocument]

    @classmethod
    def of(cls, digest: str, index: IndexDocument) -> StoredIndex:
        """Return what an index with that digest says of itself."""
        stated = (
            each.platform
            for each in index.manifests
            if ATTESTATION_TYPE not in (each.annotations or {})
        )
        platforms = frozenset(platform for platform in stated if platform is not None)
        return cls(digest, index.annotations or {}, platforms)


@dataclass(frozen=True)
class StoredImage:
    """An image: its names, config and layers; in a docker-archive, it has no manifest.

    `index` is the index below the layout's `index.json` that leads to the image, if there is one.
    `declared_platform` is the platform in the descriptor of the image or its index, and
    `annotations` are those of the manifest.
    """

    place: str
    names: tuple[str, ...]
    config: ConfigDocument
    config_data: bytes
    manifest_data: bytes | None
    layers: tuple[StoredLayer, ...]
    declared_platform: PlatformDocument | None = None
    index: StoredIndex | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def platform(self) -> Platform:
        """The platform that the index states, completed by what the config states."""
        declared, config = self.declared_platform, self.config
        return Platform(
            architecture=(declared and declared.architecture) or config.architecture,
            os=(declared and declared.os) or config.os,
            variant=(declared and declared.variant) or config.variant or None,
            os_version=(declared and declared.os_version) or config.os_version or None,
        )

    @cached_property
    def config_digest(self) -> str:
        """The digest of the config, which Docker calls the image's ID."""
        return sha256_digest(self.config_data)

    @cached_property
    def digest(self) -> str | None:
        """The digest of the manifest, if there is one."""
        return None if self.manifest_data is None else sha256_digest(self.manifest_data)

    @property
    def entry(self) -> str | None:
        """The digest of what a layout's `index.json` lists: the image, or an index that has it."""
        return self.digest if self.index is None else self.index.digest

    def at(self, path: str) -> StoredImage:
        """Return the image with layers that know the location of the image."""
        return replace(self, layers=tuple(replace(layer, path=path) for layer in self.layers))


def has_image_layers(image: StoredImage) -> bool:
    """Tell whether there are no layers, or one is a layer; cosign's signatures have none."""
    layers = image.layers
    return not layers or any(layer.media_type_error() is None for layer in layers)


def with_all_names(images: Sequence[StoredImage]) -> list[StoredImage]:
    """Return each image once: `index.json` has an entry for every name of an image.

    Not all of these need state its platform: skopeo adds some that do not.
    """
    found: dict[tuple[str, Platform, str | None], StoredImage] = {}
    for image in images:
        index = None if image.index is None else image.index.digest
        key = (image.place, image.platform, index)
        known = found.get(key, image)
        names = tuple(dict.fromkeys((*known.names, *image.names)))
        found[key] = replace(image if known.declared_platform is None else known, names=names)
    return [*found.values()]
