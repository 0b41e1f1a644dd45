"""Named byte sources: the files of a directory, or the members of a tar that is never unpacked."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol

from nixdock.errors import ImageError
from nixdock.layers.hashed import buffered
from nixdock.system.file_range import Range
from nixdock.system.text import shown
from nixdock.tar.names import normalised

if TYPE_CHECKING:
    pass

__all__ = ["Members", "member_name", "read_whole"]

_MOST_FILES: Final = 100_000
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Members(Protocol):
    """Files by their normalised names, with sizes in bytes; safe to read from several threads."""

    def __contains__(self, name: str) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def same(self, name: str) -> str:
        """Return the name of the file that `name` is, or is a link to; raise ImageError."""

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; raise ImageError if there is none."""

    def open(self, name: str) -> io.RawIOBase:
        """Open a file; raise ImageError if there is none."""

    def open_range(self, name: str) -> Range:
        """Open a file in which one can seek; raise ImageError if there is none."""

    def close(self) -> None:
        """Close what the files are read from."""


def member_name(text: str) -> str:
    """Normalise a name that a document gives; raise ImageError if it leads upwards."""
    return os.fsdecode(normalised(os.fsencode(text)))


def read_whole(members: Members, name: str, most: int) -> bytes:
    """Return a file's bytes; raise ImageError if there are more than `most` or it is missing."""
    size = members.size(name)
    if size > most:
        raise ImageError(f"{shown(name)} has {size} bytes, but may have at most {most}")
    with buffered(members.open(name)) as stream:
        data = stream.read(most + 1)
    if len(data) != size:
        raise ImageError(f"{shown(name)} changed while it was read")
    return data


def _missing(name: str) -> ImageError:
    return ImageError(f"{shown(name)} is missing")
