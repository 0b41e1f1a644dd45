"""The files of an image, in a directory or in a tar."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator
from typing import Final, Protocol

from nixdock.errors import ImageError, InputError
from nixdock.layers.hashed import buffered
from nixdock.oci.layout import DOCKER_MANIFEST, INDEX, MARKER
from nixdock.system.file_range import Range
from nixdock.system.text import shown
from nixdock.tar.names import normalised

__all__ = ["MOST_FILES", "Members", "check_is_image", "member_name", "missing_error", "read_whole"]

MOST_FILES: Final = 100_000
"""The largest number of files that an image may have."""


class Members(Protocol):
    """Files by their normalised names; several threads may read them at once."""

    def __contains__(self, name: str) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def same(self, name: str) -> str:
        """Return `name`, or the name of the file to which the link `name` points.

        In an archive, raise ImageError if there is no such file.
        """

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; raise ImageError if it is missing."""

    def start(self, name: str) -> bytes:
        """Return the first MAGIC_SIZE bytes of a file, or all; raise ImageError as `open` does."""

    def open(self, name: str) -> io.RawIOBase:
        """Open a file for reading; raise ImageError if it is missing or can't be opened."""

    def open_range(self, name: str) -> Range:
        """Open a file for reading at any position; raise ImageError as `open` does."""

    def close(self) -> None:
        """Close the archive, if there is one."""


def check_is_image(names: Members | Collection[str], path: str) -> None:
    """Raise InputError if `names`, the files at the location `path`, are not those of an image."""
    if not any(name in names for name in (MARKER, INDEX, DOCKER_MANIFEST)):
        raise InputError(
            f"{path} is not an image: it has neither {INDEX} nor {DOCKER_MANIFEST} at its top",
            path=path,
        )


def member_name(text: str) -> str:
    """Normalise a name from a document; raise ImageError if it is not valid or contains '..'."""
    return os.fsdecode(normalised(os.fsencode(text)))


def read_whole(members: Members, name: str, most: int) -> bytes:
    """Return a file's bytes; raise ImageError if it is missing or has more than `most` bytes."""
    size = members.size(name)
    if size > most:
        raise ImageError(
            f"{shown(name)} has {size} bytes, but may have at most {most}", place=shown(name)
        )
    with buffered(members.open(name)) as stream:
        data = stream.read(most + 1)
    if len(data) != size:
        raise ImageError(f"{shown(name)} changed while it was read", place=shown(name))
    return data


def missing_error(name: str) -> ImageError:
    """Return the error that the file `name` is missing."""
    return ImageError(f"{shown(name)} is missing", place=shown(name))
