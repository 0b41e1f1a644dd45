"""Which blobs the images have that were sent before: Docker can't say if containerd has them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import orjson

from nixdock.oci.digests import hex_of
from nixdock.system.cache_directory import cache_directory
from nixdock.system.cached_files import CachedFiles

__all__ = ["LoadMemory"]

_DIRECTORY: Final = "loads"
_MOST_IMAGES: Final = 64
_MOST_BYTES: Final = 1 << 16
_NAME: Final = re.compile("[0-9a-f]{64}", re.ASCII)


class LoadMemory:
    """The layers of the images that were sent last, in a file for each, by its manifest's digest.

    Several processes may use them at once. What can't be read or written is as good as nothing.
    """

    def __init__(self, directory: Path | None) -> None:
        self._files = CachedFiles(directory and directory / _DIRECTORY, _MOST_IMAGES)

    @classmethod
    def of_user(cls) -> LoadMemory:
        """Return the one in the user's directory for caches, if there is such a directory."""
        return cls(cache_directory(os.environ))

    def layers_of(self, manifests: Iterable[str]) -> set[str]:
        """Return the digests of the layers of images, as far as they are remembered."""
        return {layer for manifest in manifests for layer in self._layers(hex_of(manifest))}

    def add(self, manifest: str, layers: Collection[str]) -> None:
        """Remember an image, and forget the oldest ones if there are many."""
        self._files.write([(hex_of(manifest), orjson.dumps(sorted(set(layers))))])

    def _layers(self, name: str) -> list[str]:
        # The runtime's word becomes a part of a path.
        data = self._files.read(name, _MOST_BYTES) if _NAME.fullmatch(name) else None
        try:
            found = orjson.loads(data or b"[]")
        except ValueError:
            return []
        return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
