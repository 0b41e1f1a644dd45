"""A cache of the blobs of layers by their keys, in files of the user.

It has an entry for each layer that was packed or found in a registry: a small file. Whatever is
wrong with a file, the layer is just not known; whoever can write the files can make a push take
over other layers, but could as well replace nixdock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import orjson

from nixdock.errors import ImageError
from nixdock.oci.blob_annotations import blob_annotations
from nixdock.oci.digests import check_digest, hex_of
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.media_types import LAYER_CODINGS
from nixdock.system.text import shown

__all__ = ["CachedBlob", "KnownCache"]

_MOST_ENTRIES: Final = 16_384
_MOST_REPOSITORIES: Final = 8
_MOST_SIZE: Final = 16_384
_NO_HISTORY: Final = LayerHistory("", "")


@dataclass(frozen=True, slots=True)
class CachedBlob:
    """A blob, and the repositories, as HOST/NAME, that had it when nixdock last sent it there."""

    blob: LayerBlob
    repositories: tuple[str, ...] = ()


class _Entry(msgspec.Struct, frozen=True):
    key: str
    digest: str
    diff_id: str
    size: int
    media_type: str
    repositories: list[str] = []
    annotations: dict[str, str] = {}


class KnownCache:
    """The entries in a directory; without one, nothing is known.

    Several processes may use it at once: an entry is replaced as a whole, and the last one counts.
    """

    def __init__(self, directory: Path | None, most: int = _MOST_ENTRIES) -> None:
        self._directory = directory and directory / "layers"
        self._most = most

    def find(self, key: str) -> CachedBlob | None:
        """Return the blob with that key, or None if it is not known."""
        if self._directory is None:
            return None
        try:
            with (self._directory / hex_of(key)).open("rb") as file:
                entry = msgspec.json.decode(file.read(_MOST_SIZE), type=_Entry)
            if entry.key != key or entry.size < 0 or entry.media_type not in LAYER_CODINGS:
                return None
            blob = LayerBlob(
                check_digest(entry.diff_id),
                check_digest(entry.digest),
                entry.size,
                entry.media_type,
                _NO_HISTORY,
                key,
                annotations=blob_annotations(entry.annotations),
            )
        except (OSError, msgspec.MsgspecError, ImageError, ValueError):
            return None
        return CachedBlob(blob, tuple(map(shown, entry.repositories[:_MOST_REPOSITORIES])))

    def add(
        self, blobs: Iterable[LayerBlob], repositories: Iterable[str] = (), *, new: bool = True
    ) -> None:
        """Remember blobs with a key, which `repositories` have now; drop the oldest if too many.

        Unless `new` is set, only the repositories of blobs that are in the cache are remembered. It
        does not matter if that fails: the layers will be packed again.
        """
        if self._directory is None:
            return
        with suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for blob in blobs:
                if blob.key is not None and (new or self._has(blob.key, blob.digest)):
                    self._write(self._directory, blob.key, blob, repositories)
            self._drop_oldest(self._directory)

    def _has(self, key: str, digest: str) -> bool:
        found = self.find(key)
        return found is not None and found.blob.digest == digest

    def _write(
        self, directory: Path, key: str, blob: LayerBlob, repositories: Iterable[str]
    ) -> None:
        before = self.find(key)
        is_same = before is not None and before.blob.digest == blob.digest
        others = before.repositories if before is not None and is_same else ()
        known = tuple(dict.fromkeys([*repositories, *others]))[:_MOST_REPOSITORIES]
        if is_same and others == known:
            return
        entry = _Entry(
            key,
            blob.digest,
            blob.diff_id,
            blob.size,
            blob.media_type,
            list(known),
            dict(blob.annotations),
        )
        file = directory / hex_of(key)
        part = directory / f".{hex_of(key)}.{os.getpid()}.{threading.get_ident()}"
        part.write_bytes(orjson.dumps(msgspec.to_builtins(entry)))
        part.replace(file)

    def _drop_oldest(self, directory: Path) -> None:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries]
        if len(names) <= self._most:
            return
        files = [directory / name for name in names]
        times = sorted((file.lstat().st_mtime_ns, file) for file in files)
        # A quarter at once, so that this is rare; parts of dead processes are the oldest ones.
        for _, file in times[: len(names) - self._most * 3 // 4]:
            file.unlink(missing_ok=True)
