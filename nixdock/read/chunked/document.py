"""Tables of contents as other programs read them; see `nixdock.layers.chunked.toc`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from nixdock.errors import ImageError
from nixdock.system.text import shown

__all__ = ["TocDocument", "TocEntry", "parse_toc", "time_of"]

_TIME: Final = re.compile(r"(.{19})(?:\.([0-9]{1,9})[0-9]*)?(Z|[+-][0-9]{2}:[0-9]{2})")
# Twice the members that are compared with them, since a large file has several: empty ones take 24
# times the memory of their text.
_MOST_ENTRIES: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TocEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A member of the tar, or a chunk of one; what is zero or empty may be left out."""

    type: str
    name: str = ""
    link_name: str = ""
    mode: int = 0
    size: int = 0
    uid: int = 0
    gid: int = 0
    modtime: str = ""
    accesstime: str = ""
    changetime: str = ""
    dev_major: int = 0
    dev_minor: int = 0
    xattrs: dict[str, str] = {}
    digest: str = ""
    offset: int = 0
    end_offset: int = 0
    inner_offset: int = 0
    chunk_offset: int = 0
    chunk_size: int = 0
    chunk_digest: str = ""
    chunk_type: str = ""


class TocDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A table of contents; `tar_split_digest` is that of tar-split's data as they are stored."""

    version: int
    entries: list[TocEntry]
    tar_split_digest: str = ""


def parse_toc(data: bytes) -> TocDocument:
    """Parse a table of contents; raise ImageError if it is not one."""
    # Each entry is an object.
    if data.count(b"{") > _MOST_ENTRIES:
        raise ImageError(f"the table of contents has more than {_MOST_ENTRIES} entries")
    try:
        toc = msgspec.json.decode(data, type=TocDocument)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError(f"the table of contents is malformed: {shown(str(error))}") from None
    if toc.version != 1:
        raise ImageError(f"the table of contents has the version {toc.version}, not 1")
    return toc


def time_of(text: str) -> tuple[int, int] | None:
    """Return the seconds and nanoseconds since 1970 of a time, or None if it is not valid.

    An empty text stands for 1970.
    """
    if not text:
        return 0, 0
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    whole, fraction, zone = match.groups()
    try:
        time = datetime.fromisoformat(whole + zone.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (time - _EPOCH) // timedelta(seconds=1), int(f"{fraction or '':0<9}")
