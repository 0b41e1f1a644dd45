"""The progress of jobs that read or pack layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from nixdock.oci.layer_blob import LayerBlob
from nixdock.system.buffers import Write

__all__ = ["NO_PROGRESS", "Progress", "advance_of", "counted"]

_STEP: Final = 1 << 20


class Progress:
    """What a job reports about its layers; a subclass overrides the methods that it needs.

    Layers are numbered from 0 and may be worked on in any order. The methods are called in the
    process of the job, but not always in the same thread.
    """

    def start(self, weights: Sequence[int]) -> None:
        """Take the layers' weights, before the first of them is read.

        A weight is roughly the number of bytes to read.
        """

    def advance(self, index: int, size: int) -> None:
        """Take how many bytes of a layer have been read so far; it may exceed the weight."""

    def known(self, index: int, blob: LayerBlob) -> None:
        """Take a layer that need not be packed, because its blob is known."""

    def packed(self, index: int, blob: LayerBlob) -> None:
        """Take a layer that is now packed; this is not called when layers are only read."""


NO_PROGRESS: Final = Progress()
"""The progress of jobs that nobody watches."""


def advance_of(progress: Progress, index: int) -> Callable[[int], object] | None:
    """Return the function that takes the bytes of one layer so far, or None if nobody watches."""
    return None if progress is NO_PROGRESS else partial(progress.advance, index)


def counted(write: Write, advance: Callable[[int], object] | None) -> Write:
    """Return a function that passes bytes on to `write` and tells `advance` their number so far.

    It does so about once for each MiB. None means that nobody wants to know.
    """
    if advance is None:
        return write
    size = told = 0

    def write_and_count(data: memoryview | bytes) -> None:
        nonlocal size, told
        write(data)
        size += len(data)
        if size - told >= _STEP:
            told = size
            advance(size)

    return write_and_count
