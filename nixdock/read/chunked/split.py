"""Comparing tar-split's data with the tar that they are to rebuild."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from nixdock.coding.codings import Coding
from nixdock.coding.decompression import DecompressedReader
from nixdock.errors import ImageError
from nixdock.layers.chunked.tar_split import FILE, SEGMENT
from nixdock.layers.hashed import buffered
from nixdock.read.chunked.seen import Seen, SeenFile
from nixdock.system.readers import BytesReader
from nixdock.system.text import shown
from nixdock.tar.names import normalised

__all__ = ["split_differences"]

_MOST_LINE: Final = 8 << 20


class _Line(msgspec.Struct, frozen=True):
    type: int
    payload: bytes | None = None
    name: str = ""
    size: int = 0


def split_differences(data: bytes, size: int, seen: Seen) -> Iterator[str]:
    """Yield what tar-split's data, which have so many bytes when decompressed, have wrong."""
    raw = hashlib.sha256()
    raw_size = 0
    files: Mapping[bytes, SeenFile] = seen.files
    found = 0
    for line in _lines(data, size):
        if line.type == SEGMENT:
            raw.update(line.payload or b"")
            raw_size += len(line.payload or b"")
            continue
        if line.type != FILE:
            raise ImageError(f"a line has the unknown type {line.type}")
        found += 1
        file = files.get(normalised(line.name.encode()))
        if file is None:
            yield f"{shown(line.name)!r} is listed, but the tar does not have it"
        elif problem := _wrong_file(line, raw_size, file):
            yield f"{shown(line.name)!r}: {problem}"
    if found != len(files):
        yield f"{found} members are listed, but the tar has {len(files)}"
    if (raw.digest(), raw_size) != (seen.raw.digest(), seen.raw_size):
        yield "the headers and the padding are not those of the tar"


def _wrong_file(line: _Line, raw: int, file: SeenFile) -> str | None:
    if line.size != file.entry.get("size", 0):
        return f"it has {file.entry.get('size', 0)} bytes, but is listed with {line.size}"
    if raw != file.raw:
        return f"it comes after {file.raw} bytes of headers and padding, but is listed after {raw}"
    if line.size and line.payload != file.checksum.to_bytes(8, "big"):
        listed = (line.payload or b"").hex() or "none"
        return f"its CRC-64 is {file.checksum:016x}, but is listed as {listed}"
    return None


def _lines(data: bytes, size: int) -> Iterator[_Line]:
    reader = DecompressedReader(BytesReader(data), Coding.ZSTD, most=size)
    with buffered(reader) as stream:
        total = 0
        while line := stream.readline(_MOST_LINE):
            total += len(line)
            try:
                yield msgspec.json.decode(line, type=_Line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise ImageError(f"a line is malformed: {shown(str(error))}") from None
        if total != size:
            raise ImageError(f"they have {total} bytes when decompressed, but should have {size}")
