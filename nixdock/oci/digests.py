"""Content digests in the form `sha256:HEX`, also of streams."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Final

from nixdock.errors import ImageError
from nixdock.native.sha256 import new_sha256
from nixdock.system.buffers import Write

__all__ = ["Hashing", "chain_ids", "check_digest", "hex_of", "sha256_digest"]

_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def sha256_digest(data: bytes) -> str:
    """Return the digest of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check_digest(text: object) -> str:
    """Return `text`; raise ImageError unless it is a sha256 digest (image-spec, descriptor.md).

    Check a digest before it becomes a part of a path.
    """
    if isinstance(text, str) and _SHA256.fullmatch(text):
        return text
    raise ImageError(
        f"{text!r} is not a digest: expected sha256: and 64 lower-case hex digits",
        digest=text if isinstance(text, str) else None,
    )


def hex_of(digest: str) -> str:
    """Return the hexadecimal part of a digest."""
    return digest.partition(":")[2]


def chain_ids(diff_ids: Iterable[str]) -> Iterator[str]:
    """Yield the chain ID of each layer: it names the layer with all below (image-spec, config.md).

    The digests are those of the uncompressed layers, bottom to top.
    """
    chain = ""
    for diff_id in diff_ids:
        chain = sha256_digest(f"{chain} {diff_id}".encode()) if chain else diff_id
        yield chain


class Hashing:
    """Count and hash the bytes that are written, and pass them on to `write` if it is given.

    The bytes must never change (see `system/buffers.py`): they may be hashed later.
    """

    def __init__(self, write: Write | None = None) -> None:
        self._hash = new_sha256()
        self._write = write
        self.size = 0

    def write(self, data: memoryview | bytes) -> None:
        """Write the next bytes of the stream."""
        self._hash.update(data)
        self.size += len(data)
        if self._write is not None:
            self._write(data)

    @property
    def digest(self) -> str:
        """The digest of the bytes so far."""
        return f"sha256:{self._hash.digest().hex()}"
