"""What is known of the blobs of layers before a file is read, and who has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from nixdock.coding.codings import Coding
from nixdock.layers.known import key_of
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.media_types import layer_media_type

if TYPE_CHECKING:
    from nixdock.layers.compression import Compression
    from nixdock.layers.known_cache import KnownCache
    from nixdock.layers.layer import Layer
    from nixdock.read.stored import StoredImage

__all__ = ["Known", "blobs_of"]

_MEDIA_TYPES: Final = frozenset(
    layer_media_type(coding) for coding in Coding if coding.has_media_type
)


class Known(Struct):
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
                annotations=layer.annotations,
            )
