"""A cache of the blobs of layers by their keys, in files of the user.

It has an entry for each layer that was packed or found in a registry: a small file. Whatever is
wrong with a file, the layer is just not known; whoever can write the files can make a push take
over other layers, but could as well replace nixdock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import orjson
from msgspec import Struct

from nixdock.errors import ImageError
from nixdock.oci.blob_annotations import blob_annotations
from nixdock.oci.digests import check_digest, hex_of
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.media_types import LAYER_CODINGS
from nixdock.system.cached_files import CachedFiles
from nixdock.system.text import shown

__all__ = ["CachedBlob", "KnownCache"]

_MOST_ENTRIES: Final = 16_384
_MOST_REPOSITORIES: Final = 8
_MOST_SIZE: Final = 16_384
# As large as any file system allows: those of all layers together are still a number in JSON.
_MOST_BLOB_SIZE: Final = 1 << 53
_NO_HISTORY: Final = LayerHistory("", "")


class CachedBlob(Struct, frozen=True):
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
    """The entries in a directory; without one, nothing is known."""

    def __init__(self, directory: Path | None, most: int = _MOST_ENTRIES) -> None:
        self._files = CachedFiles(directory and directory / "layers", most)

    def find(self, key: str) -> CachedBlob | None:
        """Return the blob with that key, or None if it is not known."""
        data = self._files.read(hex_of(key), _MOST_SIZE)
        if data is None:
            return None
        try:
            entry = msgspec.json.decode(data, type=_Entry)
            if entry.key != key or entry.media_type not in LAYER_CODINGS:
                return None
            if not 0 <= entry.size <= _MOST_BLOB_SIZE:
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
        except (msgspec.MsgspecError, ImageError, ValueError):
            return None
        return CachedBlob(blob, tuple(map(shown, entry.repositories[:_MOST_REPOSITORIES])))

    def add(
        self, blobs: Iterable[LayerBlob], repositories: Iterable[str] = (), *, new: bool = True
    ) -> None:
        """Remember blobs with a key, which `repositories` have now; drop the oldest if too many.

        Unless `new` is set, only the repositories of blobs that are in the cache are remembered. It
        does not matter if that fails: the layers will be packed again.
        """
        names = [*repositories]
        self._files.write(
            (hex_of(blob.key), entry)
            for blob in blobs
            if blob.key is not None and (entry := self._entry(blob.key, blob, names, new=new))
        )

    def _entry(
        self, key: str, blob: LayerBlob, repositories: Sequence[str], *, new: bool
    ) -> bytes | None:
        """Return the new entry of a blob, or None if there is nothing new to remember."""
        before = self.find(key)
        is_same = before is not None and before.blob.digest == blob.digest
        others = before.repositories if before is not None and is_same else ()
        known = tuple(dict.fromkeys([*repositories, *others]))[:_MOST_REPOSITORIES]
        if others == known if is_same else not new:
            return None
        entry = _Entry(
            key,
            blob.digest,
            blob.diff_id,
            blob.size,
            blob.media_type,
            list(known),
            dict(blob.annotations),
        )
        return orjson.dumps(msgspec.to_builtins(entry))
