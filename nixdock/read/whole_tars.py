"""Reading the whole tar of a layer once, which verifies it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

from nixdock.errors import ImageError
from nixdock.layers.hashed import CHUNK
from nixdock.read.stored_layer import StoredLayer
from nixdock.system.file_range import Range

__all__ = ["OpenedTar", "copy_tar", "read_tar", "too_large"]


class OpenedTar(NamedTuple):
    """The tar of a layer.

    `verify` waits until the layer is verified, and raises ImageError if it is damaged. Until then,
    what the tar says may be wrong.
    """

    tar: Range
    verify: Callable[[], object] = lambda: None


def read_tar(layer: StoredLayer, seen: Callable[[int], object]) -> None:
    """Read the tar; raise ImageError if the layer is damaged.

    `seen` is called with the number of bytes of each piece.
    """
    with layer.open_unbuffered_tar() as stream:
        buffer = bytearray(CHUNK)
        while count := stream.readinto(buffer):
            seen(count)


def copy_tar(layer: StoredLayer, file: io.FileIO, seen: Callable[[int], object]) -> int:
    """Copy the tar to `file` and return its size, otherwise as `read_tar` does."""
    size = 0
    with layer.open_unbuffered_tar() as stream:
        buffer = memoryview(bytearray(CHUNK))
        while count := stream.readinto(buffer):
            seen(count)
            size += count
            rest = buffer[:count]
            while rest:
                rest = rest[file.write(rest) :]
    return size


def too_large(most: int) -> ImageError:
    """Return the error that the layers together expand to more than `most` bytes."""
    return ImageError(f"the layers expand to more than {most} bytes")
