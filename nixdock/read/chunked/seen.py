"""What a layer's tar turns out to contain while it is read, and where in the blob that is."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from nixdock.errors import ImageError, PackError
from nixdock.layers.chunked.crc64 import crc64
from nixdock.layers.chunked.frames import Frame
from nixdock.layers.chunked.toc import member_entry
from nixdock.tar.names import normalised

if TYPE_CHECKING:
    from nixdock.tar.member import Member

__all__ = ["MOST_TOC", "Seen", "SeenFile"]

MOST_TOC: Final = 150 << 20
"""The largest size of a table of contents in bytes; containers/storage has the same limit."""

_MOST_FILES: Final = 500_000


class SeenFile(Struct, eq=False):
    """A member: its entry, the digest of its contents, and the frames that begin in these.

    The frames are listed by where that is; the `size` of each is that of the contents in it. `raw`
    is how many bytes of the tar come before that are no contents, and `checksum` is the CRC-64 of
    the contents.
    """

    name: bytes
    entry: dict[str, Any]
    raw: int
    frames: dict[int, Frame] = field(default_factory=dict)
    digest: str = ""
    checksum: int = 0


class Seen:
    """The members of a tar, whose parts come here as to a `PartsSink`.

    `size` is that of the tar, and `raw` hashes its bytes that are no contents. The contents of the
    member with the name `kept` are in `contents`, and its frame begins at `kept_start` of the blob,
    if one begins with it.
    """

    def __init__(self, kept: bytes | None) -> None:
        self._kept = kept
        self._frames: deque[tuple[int, Frame]] = deque()
        self._file: SeenFile | None = None
        self._done = 0
        self._whole: Any = None
        self._part: Any = None
        # The frame that contents are being read from, if it began in them, and the latest one.
        self._current: Frame | None = None
        self._last_frame: Frame | None = None
        self.files: dict[bytes, SeenFile] = {}
        self.contents = bytearray()
        self.kept_start: int | None = None
        self.size = 0
        self.raw = hashlib.sha256()
        self.raw_size = 0

    def frame(self, offset: int, position: int) -> None:
        """Take where the next frame begins, in the blob and in the tar."""
        frame = Frame(0, start=offset)
        if self._last_frame is not None:
            self._last_frame.end = offset
        self._last_frame = frame
        # A frame of no bytes is none that contents are in.
        while self._frames and self._frames[-1][0] == position:
            self._frames.pop()
        self._frames.append((position, frame))

    def header(self, member: Member, data: bytes) -> None:
        """Take the headers of the next member."""
        name = normalised(member.name)
        if name == self._kept:
            starts = (frame.start for position, frame in self._frames if position == self.size)
            self.kept_start = next(starts, None)
        self._add_raw(data)
        try:
            entry = member_entry(member)
        except PackError as error:
            raise ImageError(str(error)) from None
        if len(self.files) == _MOST_FILES:
            raise ImageError(
                f"the table of contents is not checked: there are more than {_MOST_FILES} members"
            )
        file = self.files[name] = SeenFile(name, entry, self.raw_size)
        if member.size:
            self._file, self._done = file, 0
            self._part, self._whole = hashlib.sha256(), None
            if name == self._kept and member.size > MOST_TOC:
                raise ImageError(f"the table of contents has {member.size} bytes")

    def content(self, data: memoryview) -> None:
        """Take the next bytes of a file."""
        file = self._file
        assert file is not None
        file.checksum = crc64(data, file.checksum)
        if file.name == self._kept:
            self.contents += data
        while data:
            self._begin_frame(file)
            end = self._frames[0][0] - self.size if self._frames else len(data)
            taken = data[:end]
            self._part.update(taken)
            if self._whole is not None:
                self._whole.update(taken)
            if self._current is not None:
                self._current.size += len(taken)
            self.size += len(taken)
            self._done += len(taken)
            data = data[len(taken) :]
        if self._done == file.entry["size"]:
            self._end_frame()
            file.digest = _digest(self._whole or self._part)
            self._file = None

    def padding(self, data: memoryview) -> None:
        """Take the next bytes that fill up the last block of the contents."""
        self._add_raw(data)

    def end(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the end of the archive."""
        self._add_raw(data)

    def _add_raw(self, data: bytes | memoryview) -> None:
        self.raw.update(data)
        self.raw_size += len(data)
        self.size += len(data)

    def _begin_frame(self, file: SeenFile) -> None:
        """Let the next frame begin if it does so at the next byte; forget those before."""
        while self._frames and self._frames[0][0] <= self.size:
            position, frame = self._frames.popleft()
            if position < self.size:
                continue
            if self._done:
                self._whole = self._whole or self._part.copy()
                self._end_frame()
                self._part = hashlib.sha256()
            self._current = file.frames[self._done] = frame

    def _end_frame(self) -> None:
        if self._current is not None:
            self._current.digest = _digest(self._part)
            self._current = None


def _digest(hashed: Any) -> str:
    return f"sha256:{hashed.hexdigest()}"
