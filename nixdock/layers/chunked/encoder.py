"""Encoding a tar so that each of its files, or each chunk of a large one, can be fetched alone.

What is not contents of files, headers and padding, is in frames between theirs.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct, field

from nixdock.layers.chunked.frames import CHUNK_SIZE, Compress, Frame, Frames
from nixdock.layers.chunked.tar_parts import TarParts
from nixdock.layers.chunked.toc import file_entries, member_entry
from nixdock.oci.digests import Hashing
from nixdock.system.buffers import Write
from nixdock.tar.member import Member

__all__ = ["BlobFormat", "ChunkedEncoder"]


class BlobFormat(Protocol):
    """What a format adds to the frames of a tar."""

    @property
    def ends(self) -> bool:
        """Whether entries say where chunks end."""

    @property
    def tar(self) -> Hashing | None:
        """The tar in the blob, if it is another one than that which is encoded."""

    def start(self) -> bytes:
        """Return members that come before those of the tar."""

    def check(self, member: Member, /) -> None:
        """Raise PackError if a layer can't have this member."""

    def raw(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes of the tar that are not contents of a file."""

    def content(self, data: memoryview, /) -> None:
        """Take the next bytes of a file."""

    def file(self, member: Member, /) -> None:
        """Take a member whose contents, if it has any, have come."""

    def end(self, data: bytes | memoryview, /) -> bytes | memoryview:
        """Take the next bytes of the end of the archive; return those that stay there."""

    def finish(self, frames: Frames, entries: bytes, /) -> Mapping[str, str]:
        """Write what follows the frames of the tar; return the annotations of the blob.

        `entries` are those of the table of contents.
        """


class _File(Struct, eq=False):
    """A member whose frames are not all written."""

    member: Member
    entry: dict[str, Any]
    left: int
    frames: list[Frame] = field(default_factory=list)
    hash: Any = None


class ChunkedEncoder:
    """Encode the tar that is written here, as `TarEncoder` describes."""

    def __init__(
        self, blob_format: BlobFormat, write: Write, compress: Compress, workers: int
    ) -> None:
        self._format = blob_format
        self._frames = Frames(write, compress, workers)
        self._parts = TarParts(self)
        self._plain = bytearray()
        self._chunk = bytearray()
        self._file: _File | None = None
        # Files in order, of which the first frames may be written, and the entries of those before.
        self._files: deque[_File] = deque()
        self._entries = bytearray()
        self.annotations: Mapping[str, str] = {}
        if start := blob_format.start():
            self._parts.write(start)

    @property
    def tar(self) -> Hashing | None:
        """The tar in the blob, if it is another one than that which is written here."""
        return self._format.tar

    def write(self, data: memoryview | bytes) -> None:
        """Encode the next bytes of the tar."""
        self._parts.write(data)

    def finish(self) -> None:
        """Write all that remains; `annotations` are those of the blob then."""
        self._parts.finish()
        self._flush_plain()
        self._frames.flush()
        self._settle()
        self.annotations = self._format.finish(self._frames, bytes(self._entries))

    def close(self) -> None:
        """End all threads."""
        self._frames.close()

    def header(self, member: Member, data: bytes) -> None:
        """Take the headers of the next member."""
        self._format.check(member)
        self._format.raw(data)
        if len(self._plain) >= CHUNK_SIZE:
            # Many members without contents must not take much memory.
            self._flush_plain()
        self._plain += data
        self._file = _File(member, member_entry(member), member.size)
        if not member.size:
            self._end_file(self._file)

    def content(self, data: memoryview) -> None:
        """Take the next bytes of a file, and cut them into chunks."""
        file = self._file
        assert file is not None
        self._flush_plain()
        self._format.content(data)
        file.left -= len(data)
        while data:
            taken = data[: CHUNK_SIZE - len(self._chunk)]
            self._chunk += taken
            data = data[len(taken) :]
            if len(self._chunk) == CHUNK_SIZE or not (file.left or data):
                self._end_chunk(file, is_last=not (file.left or data))
        if not file.left:
            self._end_file(file)

    def padding(self, data: memoryview) -> None:
        """Take padding, which stands before the next header."""
        self._format.raw(data)
        self._plain += data

    def end(self, data: bytes | memoryview) -> None:
        """Take the end of the archive."""
        self._plain += self._format.end(data)

    def _flush_plain(self) -> None:
        if self._plain:
            self._frames.add(bytes(self._plain))
            self._plain.clear()

    def _end_chunk(self, file: _File, *, is_last: bool) -> None:
        data = bytes(self._chunk)
        self._chunk.clear()
        if file.frames or not is_last:
            # The digest of the whole file is not that of its only chunk.
            file.hash = file.hash or hashlib.sha256()
            file.hash.update(data)
        file.frames.append(self._frames.add(data, digest=True))

    def _end_file(self, file: _File) -> None:
        self._format.file(file.member)
        self._file = None
        self._files.append(file)
        self._settle()

    def _settle(self) -> None:
        """Make the entries of files whose frames are written."""
        while self._files and all(frame.end for frame in self._files[0].frames[-1:]):
            file = self._files.popleft()
            whole = f"sha256:{file.hash.hexdigest()}" if file.hash else ""
            for entry in file_entries(file.entry, file.frames, whole, ends=self._format.ends):
                if self._entries:
                    self._entries += b","
                self._entries += entry
