"""Checking a layer that can be fetched in part, in one pass over its blob."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from msgspec import Struct, field

from nixdock.coding.codings import Coding
from nixdock.coding.decompression import DecompressedReader
from nixdock.errors import ImageError
from nixdock.layers.chunked.estargz import FOOTER_SIZE, TOC_NAME, toc_offset
from nixdock.layers.chunked.tar_parts import TarParts
from nixdock.oci.blob_annotations import (
    ESTARGZ_SIZE,
    ESTARGZ_TOC,
    ZSTD_CHECKSUM,
    ZSTD_POSITION,
    ZSTD_TAR_SPLIT,
)
from nixdock.oci.digests import sha256_digest
from nixdock.read.chunked.comparison import differences
from nixdock.read.chunked.document import TocDocument, parse_toc
from nixdock.read.chunked.seen import MOST_TOC, Seen
from nixdock.read.chunked.split import split_differences
from nixdock.system.readers import BytesReader
from nixdock.system.text import counted, shown

__all__ = ["ChunkedCheck", "chunked_check"]

_MOST_MESSAGES: Final = 20
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class _Position(NamedTuple):
    """Where data are in a blob, and how many bytes they have when decompressed."""

    offset: int
    size: int
    expanded: int

    @classmethod
    def of(cls, annotations: Mapping[str, str], key: str, parts: int) -> _Position:
        """Return what an annotation states as so many numbers; raise ImageError if it does not."""
        numbers = annotations[key].split(":")
        if len(numbers) != parts or not all(map(_NUMBER.fullmatch, numbers)):
            raise ImageError(f"the annotation {key} is {annotations[key]!r}, not {parts} numbers")
        position = cls(*map(int, numbers[:3]))
        if max(position.size, position.expanded) > MOST_TOC:
            raise ImageError(f"the annotation {key} is of more than {MOST_TOC} bytes")
        return position


class _Captured(Struct):
    """The bytes of a part of the blob."""

    position: _Position
    data: bytearray = field(default_factory=bytearray)

    def take(self, at: int, data: bytes) -> None:
        """Take bytes of the blob that begin at `at`."""
        start, end = self.position.offset, self.position.offset + self.position.size
        self.data += data[max(0, start - at) : max(0, end - at)]


class ChunkedCheck:
    """Takes a blob while it is read, its frames and its tar; `messages` are its problems then."""

    def __init__(self, annotations: Mapping[str, str]) -> None:
        self._annotations = annotations
        self._is_estargz = ESTARGZ_TOC in annotations
        self._seen = Seen(TOC_NAME if self._is_estargz else None)
        self._parts = TarParts(self._seen)
        self._messages: list[str] = []
        self._captured: dict[str, _Captured] = {}
        self._tail = b""
        self._at = 0
        self._failed = False
        self._unlisted = 0
        for key, parts in ((ZSTD_POSITION, 4), (ZSTD_TAR_SPLIT, 3)):
            if key in annotations and not self._is_estargz:
                self._try_position(key, parts)

    def raw(self, data: bytes) -> None:
        """Take the next bytes of the blob."""
        for captured in self._captured.values():
            captured.take(self._at, data)
        self._at += len(data)
        self._tail = (self._tail + data[-FOOTER_SIZE:])[-FOOTER_SIZE:]

    def frame(self, offset: int, position: int) -> None:
        """Take where the next frame begins, in the blob and in the tar."""
        self._seen.frame(offset, position)

    def tar(self, data: bytes) -> None:
        """Take the next bytes of the tar."""
        if not self._failed:
            try:
                self._parts.write(data)
            except ImageError as error:
                self._failed = True
                self._messages.append(str(error))

    def messages(self) -> list[str]:
        """Return what is wrong, when all has been read."""
        if not self._failed:
            found = self._estargz_problems() if self._is_estargz else self._zstd_problems()
            try:
                for problem in found:
                    self._add(problem)
            except ImageError as error:
                self._messages.append(str(error))
        if self._unlisted:
            self._messages.append(f"and {counted(self._unlisted, 'more problem')}")
            self._unlisted = 0
        return self._messages

    def _add(self, message: str) -> None:
        if len(self._messages) < _MOST_MESSAGES:
            self._messages.append(message)
        else:
            self._unlisted += 1

    def _try_position(self, key: str, parts: int) -> None:
        try:
            self._captured[key] = _Captured(_Position.of(self._annotations, key, parts))
        except ImageError as error:
            self._messages.append(str(error))

    def _estargz_problems(self) -> Iterator[str]:
        seen = self._seen
        file = seen.files.get(TOC_NAME)
        if file is None:
            raise ImageError(f"there is no {TOC_NAME.decode()}, the table of contents of eStargz")
        yield from _wrong_digest(file.digest, self._annotations[ESTARGZ_TOC], ESTARGZ_TOC)
        stated = self._annotations.get(ESTARGZ_SIZE)
        if stated not in {None, str(seen.size)}:
            yield f"the tar has {seen.size} bytes, but the annotation {ESTARGZ_SIZE} is {stated!r}"
        offset = toc_offset(self._tail)
        if offset is None:
            yield "it does not end with a footer of eStargz"
        elif offset != seen.kept_start:
            yield f"the footer has the table of contents at byte {offset}, where it does not begin"
        yield from self._toc_problems(parse_toc(bytes(seen.contents)))

    def _zstd_problems(self) -> Iterator[str]:
        toc = self._captured.get(ZSTD_POSITION)
        if toc is None:
            return
        data = bytes(toc.data)
        stated = self._annotations[ZSTD_CHECKSUM]
        yield from _wrong_digest(sha256_digest(data), stated, ZSTD_CHECKSUM)
        document = parse_toc(_expanded(data, toc.position.expanded))
        yield from self._toc_problems(document)
        split = self._captured.get(ZSTD_TAR_SPLIT)
        if split is None:
            return
        data = bytes(split.data)
        yield from _wrong_digest(sha256_digest(data), document.tar_split_digest, "tarSplitDigest")
        try:
            for problem in split_differences(data, split.position.expanded, self._seen):
                yield f"the data of tar-split: {problem}"
        except ImageError as error:
            raise ImageError(f"the data of tar-split: {error}") from None

    def _toc_problems(self, toc: TocDocument) -> Iterator[str]:
        added: frozenset[bytes] = frozenset({TOC_NAME} if self._is_estargz else ())
        for problem in differences(toc.entries, self._seen.files, added):
            yield f"the table of contents: {problem}"


def chunked_check(annotations: Mapping[str, str], coding: Coding) -> ChunkedCheck | None:
    """Return the check of a layer with these annotations, or None if it has no such parts."""
    key = {Coding.GZIP: ESTARGZ_TOC, Coding.ZSTD: ZSTD_CHECKSUM}.get(coding)
    return ChunkedCheck(annotations) if key in annotations else None


def _wrong_digest(found: str, stated: str, key: str) -> Iterator[str]:
    if found != stated:
        yield f"the digest is {found}, but {key} is {shown(stated) or 'missing'}"


def _expanded(data: bytes, size: int) -> bytes:
    stream = DecompressedReader(BytesReader(data), Coding.ZSTD, most=size)
    found = stream.readall() or b""
    if len(found) != size:
        raise ImageError(f"the table of contents has {len(found)} bytes, but should have {size}")
    return found
