"""Layers of a build that need not be packed, because their blobs are known."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from nixdock.layers.known_cache import KnownCache
from nixdock.layers.pack import pack_all
from nixdock.layers.progress import NO_PROGRESS
from nixdock.system.cache_directory import cache_directory
from nixdock.transfer.known import Known

if TYPE_CHECKING:
    from nixdock.build.build import Build
    from nixdock.layers.compression import Compression
    from nixdock.layers.progress import Progress
    from nixdock.oci.layer_blob import LayerBlob
    from nixdock.oci.location import Location
    from nixdock.registry.access import Access

__all__ = ["Sources", "known_to", "packed_blobs", "user_cache"]


class Sources(Struct, frozen=True):
    """Where layers may be known: in images, and in the user's cache."""

    images: tuple[Location, ...]
    cache: KnownCache

    @classmethod
    def of(cls, reuse: Iterable[str], *, use_cache: bool) -> Sources:
        """Return the sources that a caller names; raise InputError if a reference is not valid."""
        cache = user_cache() if use_cache else KnownCache(None)
        texts = list(reuse)
        if not texts:
            return cls((), cache)
        # Loads what talks to registries.
        from nixdock.transfer.targets import reused_location

        return cls(tuple(map(reused_location, texts)), cache)

    def images_for(self, build: Build) -> list[Location]:
        """Return the images, and the previous ones, whose layers the build continues."""
        return [*self.images, *build.previous]


def user_cache() -> KnownCache:
    """Return the cache of the user, which knows and remembers nothing in a Nix build."""
    return KnownCache(cache_directory(os.environ))


def known_to(
    sources: Sources, build: Build, compression: Compression, access: Access | None
) -> Known:
    """Return what `sources` know of the blobs that the layers of `build` will have.

    Raise RegistryError if a registry can't be asked, and InputError if there is no image in a file.
    """
    known = Known()
    if images := sources.images_for(build):
        # Loads what talks to registries.
        from nixdock.registry.access import Access
        from nixdock.transfer.targets import Registries

        Registries(access or Access(), build.platform).targets((), images, known)
    known.add_cached(build.layers, compression, sources.cache)
    return known


def packed_blobs(
    sources: Sources,
    build: Build,
    compression: Compression,
    known: Mapping[int, LayerBlob],
    progress: Progress = NO_PROGRESS,
) -> list[LayerBlob]:
    """Pack the layers that are not `known`, by their numbers, and return the blobs of all.

    The cache learns what was packed; what only manifests say must not get into it.
    """
    progress.start([layer.weight for layer in build.layers])
    blobs = pack_all(build.layers, None, compression, progress=progress, known=known)
    sources.cache.add(blob for i, blob in enumerate(blobs) if i not in known)
    return blobs
