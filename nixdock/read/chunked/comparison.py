"""Comparing a layer's table of contents with the tar that it describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from nixdock.errors import ImageError
from nixdock.layers.chunked.toc import CHUNK, TYPES
from nixdock.read.chunked.document import TocEntry, time_of
from nixdock.read.chunked.seen import SeenFile
from nixdock.system.text import shown
from nixdock.tar.kinds import Kind
from nixdock.tar.names import normalised

__all__ = ["differences"]

# The keys of an entry that repeat the header of the tar.
_KEYS: Final = ("type", "linkName", "mode", "size", "uid", "gid", "devMajor", "devMinor", "xattrs")
# Only zstd:chunked states the last two.
_TIMES: Final = ("modtime", "accesstime", "changetime")
_FILE: Final = TYPES[Kind.FILE]


class _Listed(Struct):
    """An entry of a member with those of its chunks."""

    entry: TocEntry
    chunks: list[TocEntry] = field(default_factory=list)


def differences(
    entries: Sequence[TocEntry], files: Mapping[bytes, SeenFile], added: frozenset[bytes]
) -> Iterator[str]:
    """Yield what a table of contents has wrong about `files`, the members of a tar by their names.

    The table need not list the members with the names `added`.
    """
    listed: dict[bytes, _Listed] = {}
    last: _Listed | None = None
    for entry in entries:
        if entry.type == CHUNK:
            if last is None or last.entry.type != _FILE:
                yield f"a chunk of {shown(entry.name)!r} is listed before its file"
            else:
                last.chunks.append(entry)
            continue
        last = _Listed(entry)
        try:
            name = normalised(entry.name.encode())
        except ImageError as error:
            yield f"an invalid name is listed: {error}"
            continue
        if listed.setdefault(name, last) is not last:
            yield f"{shown(name)!r} is listed twice"
    for name, file in files.items():
        found = listed.pop(name, None)
        if found is not None:
            what = repr(shown(name) or "/")
            for problem in (*_wrong_fields(found.entry, file), *_wrong_contents(found, file)):
                yield f"{what}: {problem}"
        elif name not in added:
            yield f"{shown(name)!r}, which the tar has, is not listed"
    for name in listed:
        yield f"{shown(name)!r} is listed, but the tar does not have it"


def _wrong_fields(entry: TocEntry, file: SeenFile) -> Iterator[str]:
    stated: dict[str, Any] = msgspec.to_builtins(entry)
    for key in _KEYS:
        default: object = {} if key == "xattrs" else "" if key in {"type", "linkName"} else 0
        mask = 0o7777 if key == "mode" else None
        value, expected = stated[key], file.entry.get(key, default)
        if (value & mask if mask else value) != expected:
            yield f"its {key} is {shown(str(expected))}, but is listed as {shown(str(value))}"
    for key in _TIMES:
        value, expected = stated[key], file.entry.get(key, "")
        if (value or key == "modtime") and time_of(value) != time_of(expected):
            yield f"its {key} is {expected}, but is listed as {shown(value) or 'none'}"


def _wrong_contents(listed: _Listed, file: SeenFile) -> Iterator[str]:
    entry, size = listed.entry, int(file.entry.get("size", 0))
    if entry.type != _FILE or entry.size != size:
        return
    if not size:
        if listed.chunks:
            yield "it is empty, but chunks of it are listed"
        return
    if entry.digest != file.digest:
        yield f"its digest is {file.digest}, but is listed as {shown(entry.digest) or 'none'}"
    at = 0
    for chunk in (entry, *listed.chunks):
        length = chunk.chunk_size or size - at
        if chunk.chunk_offset != at or at + length > size:
            yield f"a chunk is listed from byte {chunk.chunk_offset}, but should begin at {at}"
            return
        # Where chunks begin amid a frame, only the whole can be checked.
        if not chunk.inner_offset:
            yield from _wrong_chunk(chunk, at, length, file)
        at += length
    if at != size:
        yield f"its chunks have {at} of {size} bytes"
    last = [*file.frames.values()][-1:]
    if entry.end_offset and last and entry.end_offset != last[0].end:
        end = entry.end_offset
        yield f"it ends at byte {last[0].end} of the blob, but is listed to end at {end}"


def _wrong_chunk(chunk: TocEntry, at: int, length: int, file: SeenFile) -> Iterator[str]:
    frame = file.frames.get(at)
    if frame is None or frame.start != chunk.offset:
        yield (
            f"its bytes from {at} on are listed at byte {chunk.offset} of the blob, but do not"
            " begin there"
        )
    elif frame.size == length and chunk.chunk_digest not in {"", frame.digest}:
        yield (
            f"the digest of its {length} bytes from {at} on is {frame.digest}, but is listed as"
            f" {shown(chunk.chunk_digest)}"
        )
