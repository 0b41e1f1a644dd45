"""The compression formats of layers and NARs, recognised by magic numbers or names."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["MAGIC_SIZE", "Coding", "coding_of"]

MAGIC_SIZE: Final = 6
"""The length of the longest magic number, in bytes."""


class Coding(StrEnum):
    """A compression format."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    XZ = "xz"
    BZIP2 = "bzip2"
    # It has no magic number: only a name tells of it.
    BROTLI = "br"

    @property
    def most_ratio(self) -> int:
        """The expansion at which to give up: more than the format or honest data ever needs."""
        return {
            Coding.NONE: 1,
            Coding.GZIP: 1_100,
            Coding.ZSTD: 33_000,
            # A few bytes repeat 16 MiB, but whoever sends brotli says how large the data is.
            Coding.BROTLI: 1 << 24,
        }.get(self, 10_000)

    @property
    def has_media_type(self) -> bool:
        """Whether the image-spec has a media type for layers in this format."""
        return self in {Coding.NONE, Coding.GZIP, Coding.ZSTD}


def coding_of(head: bytes) -> Coding:
    """Return the compression format of a file from `head`, its first MAGIC_SIZE bytes."""
    if head.startswith(b"\x1f\x8b"):
        return Coding.GZIP
    # A zstd file may start with a skippable frame (RFC 8878, 3.1.2).
    if head.startswith(b"\x28\xb5\x2f\xfd") or (
        head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F
    ):
        return Coding.ZSTD
    # The block size, then the magic number of a block, or of the end if there is none.
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:6] in {b"1A", b"\x17r"}:
        return Coding.BZIP2
    return Coding.XZ if head.startswith(b"\xfd7zXZ\0") else Coding.NONE
