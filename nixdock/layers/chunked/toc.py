"""The table of contents (TOC) of a layer: JSON with an entry for each member of its tar.

eStargz and zstd:chunked have it in common, and took it from CRFS. An entry repeats what the header
of the tar says, and says where the contents are: `offset` in the blob, `digest`, and the same of
each chunk of a large file, in further entries of the type `chunk`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from nixdock.errors import PackError
from nixdock.layers.chunked.frames import Frame
from nixdock.oci.descriptor import canonical_json
from nixdock.system.text import path_text
from nixdock.tar.kinds import Kind
from nixdock.tar.member import Member

__all__ = ["CHUNK", "TYPES", "file_entries", "member_entry"]

TYPES: Final = {
    Kind.FILE: "reg",
    Kind.HARD_LINK: "hardlink",
    Kind.SYMLINK: "symlink",
    Kind.CHARACTER_DEVICE: "char",
    Kind.BLOCK_DEVICE: "block",
    Kind.DIRECTORY: "dir",
    Kind.FIFO: "fifo",
}
"""The types of entries by the kinds of members."""

CHUNK: Final = "chunk"
"""The type of the entry of a chunk."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BILLION: Final = 10**9
_MOST_SECONDS: Final = 1 << 40


def member_entry(member: Member) -> dict[str, Any]:
    """Return the entry of a member without what says where its contents are.

    Raise PackError if JSON has no text for its name, or RFC 3339 none for its time.
    """
    fields = {
        "type": TYPES[member.kind],
        "name": _text(member.name, member),
        "linkName": _text(member.target, member),
        "mode": member.mode,
        "size": member.size,
        "uid": member.uid,
        "gid": member.gid,
        "modtime": _time(member.pax.get(b"mtime", b"%d" % int(member.mtime)), member),
        "accesstime": _time(member.pax.get(b"atime"), member),
        "changetime": _time(member.pax.get(b"ctime"), member),
        "devMajor": member.device[0],
        "devMinor": member.device[1],
        "xattrs": {
            _text(name, member): base64.b64encode(value).decode()
            for name, value in member.xattrs.items()
        },
    }
    # Like Go's JSON, leave out what is zero or empty.
    return {key: value for key, value in fields.items() if value}


def file_entries(
    entry: Mapping[str, Any], frames: Sequence[Frame], digest: str, *, ends: bool
) -> Iterator[bytes]:
    """Yield the entries of a member as JSON: `entry`, completed, and one for each further chunk.

    `frames` have the chunks, and `digest` is that of all contents if there are several. With
    `ends`, entries say where the contents end in the blob.
    """
    whole = dict(entry)
    if frames:
        first = frames[0]
        whole |= {
            "digest": digest or first.digest,
            "offset": first.start,
            "chunkDigest": first.digest,
        }
        if len(frames) > 1:
            whole["chunkSize"] = first.size
        if ends:
            whole["endOffset"] = frames[-1].end
    yield canonical_json(whole)
    at = 0
    for before, frame in pairwise(frames):
        at += before.size
        chunk = {
            "type": CHUNK,
            "name": entry["name"],
            "offset": frame.start,
            "chunkOffset": at,
            "chunkSize": frame.size,
            "chunkDigest": frame.digest,
        }
        yield canonical_json(chunk | {"endOffset": frame.end} if ends else chunk)


def _text(name: bytes, member: Member) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        path = path_text(member.name)
        raise PackError(
            f"{path}: the name, the target of a link or an attribute is not UTF-8, which tables of"
            " contents need; choose another compression for this image",
            path=path,
        ) from None


def _time(seconds: bytes | None, member: Member) -> str | None:
    """Return the text for a time of an extended header, as exact as there."""
    if seconds is None:
        return None
    whole, _, fraction = seconds.decode("ascii", "replace").partition(".")
    try:
        nanoseconds = int(f"{fraction[:9]:0<9}") if fraction else 0
        number = int(whole)
        return _rfc3339(number, -nanoseconds if whole.startswith("-") else nanoseconds)
    except (ValueError, OverflowError):
        path = path_text(member.name)
        raise PackError(
            f"{path}: the time {seconds.decode(errors='replace')!r} is none that a table of"
            " contents can state",
            path=path,
        ) from None


def _rfc3339(seconds: int, nanoseconds: int) -> str:
    """Return the text for a time since 1970; raise OverflowError if there is none."""
    seconds, nanoseconds = divmod(seconds * _BILLION + nanoseconds, _BILLION)
    if abs(seconds) > _MOST_SECONDS:
        raise OverflowError
    time = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    fraction = f".{nanoseconds:09}".rstrip("0") if nanoseconds else ""
    return f"{time}{fraction}Z"
