"""The parts of a tar while it is written: headers, the contents of files, and what fills blocks."""

from __future__ import annotations

import io
from typing import Final, Protocol

from nixdock.errors import ImageError
from nixdock.tar.fields import BLOCK, parse_number
from nixdock.tar.kinds import Kind
from nixdock.tar.member import Member
from nixdock.tar.reader import TarReader

__all__ = ["PartsSink", "TarParts"]

_ZEROS: Final = bytes(BLOCK)
_EXTENSIONS: Final = b"xgLK"
_FLAG: Final = slice(156, 157)
_SIZE: Final = slice(124, 136)
_MOST_HEADER: Final = 4 << 20


class PartsSink(Protocol):
    """What receives the parts of a tar, in order; together they are all of its bytes."""

    def header(self, member: Member, data: bytes, /) -> None:
        """Take the headers of the next member; its contents and their padding follow."""

    def content(self, data: memoryview, /) -> None:
        """Take the next bytes of the member's contents."""

    def padding(self, data: memoryview, /) -> None:
        """Take the next bytes that fill up the last block of the contents."""

    def end(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes of the end of the archive, which follows all members."""


class TarParts:
    """Pass the parts of a tar that is written here on to `sink`.

    Raise ImageError if the tar is malformed, as TarReader does.
    """

    def __init__(self, sink: PartsSink) -> None:
        self._sink = sink
        self._header = bytearray()
        # Where the header block or extended header ends that is being read.
        self._header_end = BLOCK
        self._is_extended = False
        self._content_left = 0
        self._padding_left = 0
        self._ended = False

    def write(self, data: memoryview | bytes) -> None:
        """Take the next bytes of the tar."""
        view = memoryview(data)
        while view:
            if self._content_left:
                taken = view[: self._content_left]
                self._content_left -= len(taken)
                self._sink.content(taken)
            elif self._padding_left:
                taken = view[: self._padding_left]
                self._padding_left -= len(taken)
                self._sink.padding(taken)
            elif self._ended:
                taken = view
                self._sink.end(taken)
            else:
                taken = view[: self._header_end - len(self._header)]
                self._header += taken
                if len(self._header) == self._header_end:
                    self._end_header()
            view = view[len(taken) :]

    def finish(self) -> None:
        """Raise ImageError if the tar ends too early."""
        if self._header or self._content_left or self._padding_left:
            raise ImageError("the tar is malformed: it ends in the middle of a member")

    def _end_header(self) -> None:
        """Take note of a whole header block, or of a whole extended header."""
        if self._is_extended:
            self._is_extended = False
            self._header_end += BLOCK
            return
        block = bytes(self._header[-BLOCK:])
        if block[_FLAG] in _EXTENSIONS and block != _ZEROS:
            size = parse_number(block[_SIZE]) or 0
            self._header_end += size + -size % BLOCK
            if size < 0 or self._header_end > _MOST_HEADER:
                raise ImageError(f"the tar is malformed: an extended header has {size} bytes")
            if size:
                self._is_extended = True
            else:
                self._header_end += BLOCK
            return
        header = bytes(self._header)
        self._header.clear()
        self._header_end = BLOCK
        if header == _ZEROS:
            self._ended = True
            self._sink.end(header)
            return
        member = next(iter(TarReader(io.BytesIO(header))))
        if member.kind == Kind.FILE:
            self._content_left = member.size
            self._padding_left = -member.size % BLOCK
        self._sink.header(member, header)
