"""Merging the images of several files into one docker-archive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from nixdock.coding.codings import MAGIC_SIZE, Coding, coding_of
from nixdock.errors import InputError
from nixdock.layers.compression import Compression
from nixdock.merge.archive import write_merged_archive
from nixdock.merge.names import named_images
from nixdock.oci.descriptor import Platform
from nixdock.oci.legacy import REPOSITORIES
from nixdock.oci.location import FileLocation, Location
from nixdock.read.selection import images_for
from nixdock.registry.opening import open_location
from nixdock.system.buffers import Write
from nixdock.system.presence import is_file

if TYPE_CHECKING:
    from nixdock.registry.access import Access

__all__ = ["compression_like", "merge_images"]


def compression_like(locations: Sequence[Location]) -> Compression:
    """Return the compression, as a whole, of the file at the last of `locations`.

    Return gzip instead of those that nixdock does not write. Raise InputError if there are no
    locations or the file can't be read.
    """
    _check_any(locations)
    location = locations[-1]
    if not isinstance(location, FileLocation):
        return Compression.NONE
    last = location.path
    if not is_file(last):
        return Compression.NONE
    try:
        with last.open("rb") as file:
            coding = coding_of(file.read(MAGIC_SIZE))
    except OSError as error:
        raise InputError(f"can't open {last}: {error.strerror}", path=last) from None
    return {Coding.NONE: Compression.NONE, Coding.ZSTD: Compression.ZSTD}.get(
        coding, Compression.GZIP
    )


def merge_images(
    locations: Sequence[Location],
    write: Write,
    *,
    mtime: int,
    platform: Platform | None = None,
    access: Access | None = None,
) -> None:
    """Write a docker-archive with all images at `locations`, in their order.

    Those for other platforms than `platform` are left out; without a platform, all images of files
    are written, and for linux/amd64 one of an index in a registry. Configs and layers are
    unchanged, so the images keep their IDs. All times are `mtime`, in seconds. Raise what
    `open_location` raises, and InputError if there are no locations, or no images at one.
    """
    _check_any(locations)
    with ExitStack() as stack:
        files = []
        for location in locations:
            opened = open_location(location, access, platform=platform or Platform(), keep=True)
            file = images_for(stack.enter_context(opened), platform)
            if not file.images:
                raise InputError(f"{file.path} has no images", path=file.path)
            files.append(file)
        legacy = any(REPOSITORIES in file.members for file in files)
        write_merged_archive(named_images(files), write, mtime=mtime, legacy=legacy)


def _check_any(locations: Sequence[Location]) -> None:
    if not locations:
        raise InputError("there is nothing to merge; name at least one image")
