"""Content digests: `sha256:HEX`, taken while bytes pass by."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from nixdock.errors import ImageError
from nixdock.system.buffers import Write

__all__ = ["Hashing", "check_digest", "hex_of", "sha256_digest"]


_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def sha256_digest(data: bytes) -> str:
    """Return the digest of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check_digest(text: object) -> str:
    """Return `text` if it is a sha256 digest, else raise ImageError.

    A path is made only from digests that passed this (image-spec, descriptor.md, digests).
    """
    if isinstance(text, str) and _SHA256.fullmatch(text):
        return text
    raise ImageError(f"{text!r} is not a digest: expected sha256: and 64 lower-case hex digits")


def hex_of(digest: str) -> str:
    """Return a digest's hexadecimal part."""
    return digest.partition(":")[2]


class Hashing:
    """Count and hash what is written, and pass it on to `write`, if there is one."""

    def __init__(self, write: Write | None = None) -> None:
        self._hash = hashlib.sha256()
        self._write = write
        self.size = 0

    def write(self, data: memoryview | bytes) -> None:
        """Take the next bytes."""
        self._hash.update(data)
        self.size += len(data)
        if self._write is not None:
            self._write(data)

    @property
    def digest(self) -> str:
        """The digest of what was written so far."""
        return f"sha256:{self._hash.hexdigest()}"
