"""zstd:chunked: zstd frames, and in skippable ones a table of contents and tar-split's data.

containers/storage, which Podman, CRI-O and bootc use, describes the format in its source. Readers
that do not know it see zstd data.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from nixdock.coding.libzstd import compression_errors, zstd
from nixdock.layers.chunked.crc64 import crc64
from nixdock.layers.chunked.tar_split import TarSplit
from nixdock.oci.blob_annotations import ZSTD_CHECKSUM, ZSTD_POSITION, ZSTD_TAR_SPLIT
from nixdock.oci.descriptor import canonical_json
from nixdock.oci.digests import sha256_digest

if TYPE_CHECKING:
    from nixdock.layers.chunked.frames import Compress, Frames
    from nixdock.tar.member import Member

__all__ = ["ZstdChunked"]

_SKIPPABLE: Final = struct.Struct("<4sI")
_SKIPPABLE_MAGIC: Final = b"\x50\x2a\x4d\x18"
_FOOTER: Final = struct.Struct("<7Q8s")
_FOOTER_MAGIC: Final = b"GNUlInUx"
# The type of a table of contents like that of CRFS.
_CRFS: Final = 1


class ZstdChunked:
    """The format of a blob whose frames `compress` makes; see `BlobFormat`."""

    ends = True
    tar = None

    def __init__(self, compress: Compress, level: int) -> None:
        self._compress = compress
        # Data of which little is kept in memory until it is compressed.
        options: dict[int, int] = {zstd.CompressionParameter.compression_level: level}
        self._stream = zstd.ZstdCompressor(options=options)
        self._split_data = bytearray()
        self._split = TarSplit(self._add_line)
        self._checksum = 0

    def start(self) -> bytes:
        """Return nothing: the tar stays as it is."""
        return b""

    def check(self, member: Member) -> None:
        """Accept any member."""

    def raw(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the tar that are not contents of a file."""
        self._split.raw(data)

    def content(self, data: memoryview) -> None:
        """Take the next bytes of a file."""
        self._checksum = crc64(data, self._checksum)

    def file(self, member: Member) -> None:
        """Take a member whose contents, if it has any, have come."""
        self._split.file(member, self._checksum)
        self._checksum = 0

    def end(self, data: bytes | memoryview) -> bytes | memoryview:
        """Keep the end of the archive."""
        self._split.raw(data)
        return data

    def finish(self, frames: Frames, entries: bytes) -> Mapping[str, str]:
        """Write the table of contents, the data of tar-split and the footer."""
        self._split.flush()
        with compression_errors():
            split = bytes(self._split_data + self._stream.flush())
        digest = canonical_json(sha256_digest(split))
        toc = b'{"version":1,"entries":[%b],"tarSplitDigest":%b}' % (entries, digest)
        compressed = self._compress(toc)
        at = _write_skippable(frames, compressed)
        split_at = _write_skippable(frames, split)
        position = (at, len(compressed), len(toc), _CRFS)
        split_position = (split_at, len(split), self._split.size)
        _write_skippable(frames, _FOOTER.pack(*position, *split_position, _FOOTER_MAGIC))
        return {
            ZSTD_CHECKSUM: sha256_digest(compressed),
            ZSTD_POSITION: _joined(position),
            ZSTD_TAR_SPLIT: _joined(split_position),
        }

    def _add_line(self, line: bytes | memoryview) -> None:
        with compression_errors():
            self._split_data += self._stream.compress(line)


def _write_skippable(frames: Frames, data: bytes) -> int:
    """Write a frame that decompressors skip; return where its data begins."""
    frames.write_raw(_SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(data)))
    at = frames.offset
    frames.write_raw(data)
    return at


def _joined(numbers: tuple[int, ...]) -> str:
    return ":".join(map(str, numbers))
