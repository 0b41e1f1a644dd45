"""Keeping freed memory for the next buffers."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

__all__ = ["keep_freed_memory"]

# malloc.h of glibc: parameters of mallopt.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_LARGEST: Final = 4 << 20
_MOST_KEPT: Final = 32 << 20


def keep_freed_memory() -> None:
    """Let this process, and those that it forks, use the memory of freed buffers again.

    Where the C library is glibc, it would give each buffer of a megabyte back to the kernel, which
    zeroes memory before it gives it out: for streams of such buffers, that takes as long as hashing
    does. Other libraries are left alone.
    """
    import ctypes  # noqa: PLC0415 (slow to load)

    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
