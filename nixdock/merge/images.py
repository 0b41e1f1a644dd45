"""Merging the images of several files into one docker-archive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from nixdock.errors import InputError
from nixdock.layers.compressors import Compression
from nixdock.merge.archive import write_merged_archive
from nixdock.merge.names import named_images
from nixdock.oci.coding import MAGIC_SIZE, Coding, coding_of
from nixdock.oci.legacy import REPOSITORIES
from nixdock.read.opening import open_image
from nixdock.system.buffers import Write

__all__ = ["compression_like", "merge_images"]


def compression_like(paths: Sequence[Path]) -> Compression:
    """Return the compression of the last of `paths` as a whole.

    Return gzip instead of xz, which nixdock does not write. Raise InputError if there are no paths
    or the file can't be read.
    """
    _check_any(paths)
    last = paths[-1]
    if not last.is_file():
        return Compression.NONE
    try:
        with last.open("rb") as file:
            coding = coding_of(file.read(MAGIC_SIZE))
    except OSError as error:
        raise InputError(f"can't open {last}: {error.strerror}", path=last) from None
    return Compression.GZIP if coding is Coding.XZ else Compression(coding.value)


def merge_images(paths: Sequence[Path], write: Write, *, mtime: int) -> None:
    """Write a docker-archive with all images of `paths`, in their order.

    Configs and layers are unchanged, so the images keep their IDs. All times are `mtime`, in
    seconds. Raise InputError if there are no paths or if there is no image at one, and ImageError
    if one is damaged.
    """
    _check_any(paths)
    with ExitStack() as stack:
        files = [stack.enter_context(open_image(path)) for path in paths]
        legacy = any(REPOSITORIES in file.members for file in files)
        write_merged_archive(named_images(files), write, mtime=mtime, legacy=legacy)


def _check_any(paths: Sequence[Path]) -> None:
    if not paths:
        raise InputError("there is nothing to merge; name at least one image")
