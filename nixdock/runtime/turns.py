"""Turns of processes that load the same image: Podman loses names that are given at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from nixdock.oci.digests import hex_of
from nixdock.system.cache_directory import cache_directory

__all__ = ["turn"]

_FILE: Final = "loads.lock"
# An offset in a file has 63 bits.
_DIGITS: Final = 15


@contextmanager
def turn(image: str) -> Iterator[None]:
    """Wait until no other process of this user loads the image with that digest, and have the turn.

    Without a directory for caches, nobody waits.
    """
    descriptor = _opened()
    try:
        if descriptor is not None:
            # Each image has a byte of the file, which is never written.
            with suppress(OSError):
                fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, int(hex_of(image)[:_DIGITS], 16))
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _opened() -> int | None:
    directory = cache_directory(os.environ)
    if directory is None:
        return None
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return os.open(directory / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
