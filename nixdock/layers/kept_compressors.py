"""Compressors of zstd that compress one layer after another.

Each has 30 MB of memory, which the kernel zeroes before it gives it out: new memory for each layer
takes as long as hashing the layer. What a compressor has compressed before changes no bytes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nixdock.coding.libzstd import zstd
    from nixdock.layers.compression import Compression

__all__ = ["keep_compressor", "keeping_compressors", "kept_compressor"]


class _Kept:
    """What waits for the next layer, by the compression and the number of threads.

    Several threads may be in `blocks` of `keeping_compressors`.
    """

    def __init__(self) -> None:
        self.blocks = 0
        self.waiting: defaultdict[tuple[Compression, int], list[zstd.ZstdCompressor]]
        self.waiting = defaultdict(list)


_kept: Final = _Kept()
# A child process has no threads of its parent: to free their compressors would wait for them.
_parents: Final[list[object]] = []


def _leave_to_parent() -> None:
    _parents.append(_kept.waiting)
    _kept.waiting = defaultdict(list)


os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def keeping_compressors() -> Iterator[None]:
    """Keep compressors within the block, also in processes that are forked there."""
    _kept.blocks += 1
    try:
        yield
    finally:
        _kept.blocks -= 1
        if not _kept.blocks:
            _kept.waiting.clear()


def kept_compressor(compression: Compression, threads: int) -> zstd.ZstdCompressor | None:
    """Return a compressor that was kept, and is kept no more, or None.

    Those with other settings are not kept any longer: heavy layers, which have more threads, come
    first.
    """
    waiting = _kept.waiting.get((compression, threads), [])
    try:
        return waiting.pop()
    except IndexError:
        _kept.waiting.clear()
        return None


def keep_compressor(
    compression: Compression, threads: int, compressor: zstd.ZstdCompressor
) -> None:
    """Keep a compressor that has ended its frame, within blocks of `keeping_compressors`."""
    if _kept.blocks:
        _kept.waiting[compression, threads].append(compressor)
