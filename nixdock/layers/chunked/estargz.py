"""eStargz: gzip members, the last of which has a table of contents, as a file of the tar.

The documentation of stargz-snapshotter, docs/estargz.md, describes the format. Readers that do not
know it see gzip data, and two small files more in the root directory.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from nixdock.errors import PackError
from nixdock.oci.blob_annotations import ESTARGZ_SIZE, ESTARGZ_TOC
from nixdock.oci.digests import Hashing, sha256_digest
from nixdock.system.text import path_text
from nixdock.tar.fields import BLOCK
from nixdock.tar.header import Entry, Headers, MemberMeta
from nixdock.tar.kinds import Kind
from nixdock.tar.names import normalised

if TYPE_CHECKING:
    from nixdock.layers.chunked.frames import Frames
    from nixdock.tar.member import Member

__all__ = ["FOOTER_SIZE", "TOC_NAME", "Estargz", "footer", "toc_offset"]

TOC_NAME: Final = b"stargz.index.json"
"""The name of the file with the table of contents."""

# It tells that no file is to be fetched before it is used.
_LANDMARK: Final = b".no.prefetch.landmark"
_LANDMARK_CONTENTS: Final = b"\x0f"
_RESERVED: Final = frozenset({TOC_NAME, _LANDMARK, b".prefetch.landmark"})
_FOOTER_MAGIC: Final = b"STARGZ"
_OFFSET: Final = re.compile(rb"([0-9a-f]{16})STARGZ")
# An empty gzip member with an extra field, in which a stored block of no bytes is the last one.
_FOOTER_START: Final = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff"
_FOOTER_END: Final = b"\x01\x00\x00\xff\xff" + bytes(8)


class Estargz:
    """The format of a blob; see `BlobFormat`."""

    ends = False

    def __init__(self) -> None:
        self._headers = Headers(MemberMeta())
        self._adding = False
        self.tar = Hashing()

    def start(self) -> bytes:
        """Return the landmark."""
        self._adding = True
        return self._member(_LANDMARK, _LANDMARK_CONTENTS)

    def check(self, member: Member) -> None:
        """Raise PackError if the member's name is one that the format gives to its own files."""
        if self._adding:
            self._adding = False
        elif normalised(member.name) in _RESERVED:
            path = path_text(member.name)
            raise PackError(
                f"{path}: eStargz adds a file with this name; choose another compression",
                path=path,
            )

    def raw(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the tar that are not contents of a file."""
        self.tar.write(data)

    def content(self, data: memoryview) -> None:
        """Take the next bytes of a file."""
        self.tar.write(data)

    def file(self, member: Member) -> None:
        """Take a member whose contents, if it has any, have come."""

    def end(self, data: bytes | memoryview) -> bytes:
        """Drop the end of the archive: it follows the table of contents."""
        if any(data):
            raise PackError("bytes follow the end of the tar that is to be compressed")
        return b""

    def finish(self, frames: Frames, entries: bytes) -> Mapping[str, str]:
        """Write the table of contents, the end of the archive and the footer."""
        toc = b'{"version":1,"entries":[%b]}' % entries
        member = self._member(TOC_NAME, toc) + bytes(2 * BLOCK)
        self.tar.write(member)
        frames.flush()
        at = frames.offset
        frames.add(member)
        frames.write_raw(footer(at))
        return {ESTARGZ_TOC: sha256_digest(toc), ESTARGZ_SIZE: str(self.tar.size)}

    def _member(self, name: bytes, contents: bytes) -> bytes:
        header = self._headers.encode(Entry(name, Kind.FILE, 0o444, len(contents)))
        return header + contents + bytes(-len(contents) % BLOCK)


def footer(offset: int) -> bytes:
    """Return the end of a blob whose table of contents is in the member at `offset`."""
    field = b"%016x%b" % (offset, _FOOTER_MAGIC)
    extra = b"SG" + struct.pack("<H", len(field)) + field
    return _FOOTER_START + struct.pack("<H", len(extra)) + extra + _FOOTER_END


FOOTER_SIZE: Final = len(footer(0))
"""The size of the end of a blob in bytes."""


def toc_offset(data: bytes) -> int | None:
    """Return where the table of contents is, from the end of a blob, or None if that is another."""
    match = _OFFSET.search(data)
    offset = int(match[1], 16) if match else 0
    return offset if data[10:] == footer(offset)[10:] else None
