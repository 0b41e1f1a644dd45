"""Finding the layers that registries and caches have already, before a file is read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from nixdock.errors import ImageError, InputError, RegistryError
from nixdock.layers.known import key_of
from nixdock.oci.coding import Coding
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.media_types import layer_media_type
from nixdock.read.opening import read_images
from nixdock.registry.image_files import RegistryFiles, fitting_manifest
from nixdock.registry.manifests import get_manifest

if TYPE_CHECKING:
    from nixdock.layers.compressors import Compression
    from nixdock.layers.known_cache import KnownCache
    from nixdock.layers.layer import Layer
    from nixdock.oci.descriptor import Platform
    from nixdock.read.stored import StoredImage
    from nixdock.registry.repository import Repository

__all__ = ["Known", "Seen", "blobs_of", "look_at"]

log = logging.getLogger(__name__)

_MEDIA_TYPES: Final = frozenset(
    layer_media_type(coding) for coding in Coding if coding.has_media_type
)


@dataclass(frozen=True, slots=True)
class Seen:
    """An image that a repository has now; `manifest` is the digest of its manifest.

    `index` is the digest of what the name stands for, which may be an index with the image.
    """

    repository: Repository
    name: str
    index: str
    manifest: str
    blobs: tuple[LayerBlob, ...]


@dataclass(slots=True)
class Known:
    """What is known of blobs: each by its key, existing ones by their digests, and who has them.

    `homes` are the repositories, as HOST/NAME, that are said to have a blob. What was added first
    counts.
    """

    blobs: dict[str, LayerBlob] = field(default_factory=dict)
    homes: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, blob: LayerBlob, repositories: Iterable[str] = ()) -> None:
        """Add a blob that repositories have."""
        for name in (blob.key, blob.digest):
            if name is not None:
                self.blobs.setdefault(name, blob)
        for repository in repositories:
            self.add_home(blob.digest, repository)

    def add_home(self, digest: str, repository: str) -> None:
        """Add a repository that is said to have a blob."""
        self.homes.setdefault(digest, {})[repository] = None

    def add_seen(self, seen: Seen) -> None:
        """Add the blobs of an image in a repository."""
        for blob in seen.blobs:
            self.add(blob, [seen.repository.place])

    def add_image(self, image: StoredImage) -> None:
        """Add the layers of an image in a file."""
        for blob in blobs_of(image):
            self.add(blob)

    def add_cached(
        self, layers: Sequence[Layer], compression: Compression, cache: KnownCache
    ) -> None:
        """Add those of the blobs that `layers` will have which the cache knows."""
        for layer in layers:
            key = key_of(layer, compression)
            if key is not None and key not in self.blobs and (found := cache.find(key)):
                self.add(found.blob, found.repositories)


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
        if isinstance(error, RegistryError) and error.status not in {None, 404}:
            raise
        log.warning("%s is not used: %s", repository.reference(name), error)
        return None
    if len(images) != 1:
        return None
    blobs = tuple(blobs_of(images[0]))
    return Seen(repository, name, manifest.digest, fitting.digest, blobs)


def blobs_of(image: StoredImage) -> Iterator[LayerBlob]:
    """Yield the layers of an image as its manifest and config describe them; none is read."""
    for layer in image.layers:
        # Other types may say something else than what the bytes are.
        if layer.declared_digest is not None and layer.media_type in _MEDIA_TYPES:
            yield LayerBlob(
                layer.diff_id,
                layer.declared_digest,
                layer.size,
                layer.media_type,
                layer.history,
                layer.key,
            )
