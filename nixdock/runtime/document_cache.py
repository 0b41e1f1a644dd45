"""The manifests and configs of images that were loaded: most runtimes do not give them out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nixdock.oci.digests import hex_of, sha256_digest
from nixdock.system.cache_directory import cache_directory
from nixdock.system.cached_files import CachedFiles

if TYPE_CHECKING:
    from nixdock.oci.descriptor import Blob

__all__ = ["MOST_DOCUMENT", "DocumentCache"]

MOST_DOCUMENT: Final = 1 << 20
"""The size of the largest document that is kept, in bytes."""

_MOST_DOCUMENTS: Final = 256


class DocumentCache:
    """Small documents by their digests, in a directory; without one, there are none.

    A document is what its digest says: nobody who writes other files there can pass off another.
    """

    def __init__(self, directory: Path | None, most: int = _MOST_DOCUMENTS) -> None:
        self._files = CachedFiles(directory and directory / "documents", most)

    @classmethod
    def of_user(cls) -> DocumentCache:
        """Return the one in the user's directory for caches, if there is such a directory."""
        return cls(cache_directory(os.environ))

    def find(self, digest: str) -> bytes | None:
        """Return the document with that digest, or None if it is not there as a whole."""
        data = self._files.read(hex_of(digest), MOST_DOCUMENT)
        return None if data is None or sha256_digest(data) != digest else data

    def add(self, documents: Iterable[Blob]) -> None:
        """Keep documents, unless they are large; the oldest go if there are too many."""
        self._files.write(
            (hex_of(each.digest), each.data)
            for each in documents
            if len(each.data) <= MOST_DOCUMENT
        )
