"""The annotations of a layer's descriptor that say how parts of its blob can be fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = [
    "ESTARGZ_SIZE",
    "ESTARGZ_TOC",
    "OF_ESTARGZ",
    "OF_ZSTD_CHUNKED",
    "ZSTD_CHECKSUM",
    "ZSTD_POSITION",
    "ZSTD_TAR_SPLIT",
    "blob_annotations",
]

ESTARGZ_TOC: Final = "containerd.io/snapshot/stargz/toc.digest"
"""The digest of the table of contents of an eStargz blob."""

ESTARGZ_SIZE: Final = "io.containers.estargz.uncompressed-size"
"""The size in bytes of the tar in an eStargz blob."""

# Podman 4.3 knows "io.containers.zstd-chunked" instead, and loses owners and times with it: without
# it, it fetches whole layers.
_ZSTD: Final = "io.github.containers.zstd-chunked"

ZSTD_CHECKSUM: Final = f"{_ZSTD}.manifest-checksum"
"""The digest of the table of contents of a zstd:chunked blob, as it is compressed there."""

ZSTD_POSITION: Final = f"{_ZSTD}.manifest-position"
"""Its offset, its size, its size when decompressed, and its type: `OFFSET:SIZE:SIZE:1`."""

ZSTD_TAR_SPLIT: Final = f"{_ZSTD}.tarsplit-position"
"""The offset of tar-split's data, its size, and its size when decompressed: `OFFSET:SIZE:SIZE`."""

OF_ESTARGZ: Final = frozenset({ESTARGZ_TOC, ESTARGZ_SIZE})
"""The annotations of an eStargz blob."""

OF_ZSTD_CHUNKED: Final = frozenset({ZSTD_CHECKSUM, ZSTD_POSITION, ZSTD_TAR_SPLIT})
"""The annotations of a zstd:chunked blob."""

_OF_BLOBS: Final = OF_ESTARGZ | OF_ZSTD_CHUNKED


def blob_annotations(annotations: Mapping[str, str] | None) -> dict[str, str]:
    """Return those annotations of a descriptor that describe the blob, in whichever image it is."""
    return {key: value for key, value in (annotations or {}).items() if key in _OF_BLOBS}
