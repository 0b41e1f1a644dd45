"""The data of tar-split: all bytes of a tar but the contents of its files, as lines of JSON.

With the files, a runtime makes the tar from them again, and so its diff_id. Each header has a line
of bytes, which begin with the padding of the file before, and a line that names the file.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import orjson

from nixdock.system.buffers import Write

if TYPE_CHECKING:
    from nixdock.tar.member import Member

__all__ = ["FILE", "SEGMENT", "TarSplit"]

FILE: Final = 1
"""The type of a line that names a file, with the checksum of its contents."""

SEGMENT: Final = 2
"""The type of a line with bytes of the tar."""


class TarSplit:
    """Passes lines on to `write`; `size` is the number of their bytes."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._raw = bytearray()
        self._lines = 0
        self.size = 0

    def raw(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the tar that are not contents of a file."""
        self._raw += data

    def file(self, member: Member, checksum: int) -> None:
        """Take a member whose contents have this CRC-64, and come after the bytes so far."""
        self.flush()
        named: dict[str, Any] = {"type": FILE, "name": member.name.decode()}
        if member.size:
            named["size"] = member.size
        payload = base64.b64encode(checksum.to_bytes(8, "big")).decode() if member.size else None
        self._line({**named, "payload": payload})

    def flush(self) -> None:
        """Pass on the bytes so far."""
        if self._raw:
            self._line({"type": SEGMENT, "payload": base64.b64encode(self._raw).decode()})
            self._raw.clear()

    def _line(self, fields: dict[str, Any]) -> None:
        line = orjson.dumps({**fields, "position": self._lines}, option=orjson.OPT_APPEND_NEWLINE)
        self._lines += 1
        self.size += len(line)
        self._write(line)
