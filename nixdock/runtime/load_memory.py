"""Which blobs the images have that were sent before: Docker can't say if containerd has them."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from nixdock.errors import OutputError
from nixdock.system.atomic import whole_file
from nixdock.system.cache_directory import cache_directory

__all__ = ["LoadMemory"]

_FILE: Final = "loads.json"
_MOST_IMAGES: Final = 50


class LoadMemory:
    """The layers of the images that were sent last, by the digests of their manifests.

    What can't be read or written is as good as nothing.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    @classmethod
    def of_user(cls) -> LoadMemory:
        """Return the one in the user's directory for caches, if there is such a directory."""
        directory = cache_directory(os.environ)
        return cls(None if directory is None else directory / _FILE)

    def layers_of(self, manifests: Iterable[str]) -> set[str]:
        """Return the digests of the layers of images, as far as they are remembered."""
        known = self._read()
        return {layer for manifest in manifests for layer in known.get(manifest, ())}

    def add(self, manifest: str, layers: Collection[str]) -> None:
        """Remember an image, and forget the oldest ones."""
        if self._file is None:
            return
        known = self._read()
        known.pop(manifest, None)
        known[manifest] = sorted(set(layers))
        kept = dict([*known.items()][-_MOST_IMAGES:])
        with suppress(OSError, OutputError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._file) as file:
                file.write(json.dumps(kept).encode())

    def _read(self) -> dict[str, list[str]]:
        if self._file is None:
            return {}
        try:
            found = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        items = found.items() if isinstance(found, dict) else ()
        return {key: value for key, value in items if isinstance(value, list)}
