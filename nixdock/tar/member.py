"""The members of a tar, as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from nixdock.tar.fields import XATTR_PREFIX

__all__ = ["Member"]


class Member(NamedTuple):
    """One member; names and targets are bytes, as they stand in the archive.

    `kind` is one of `Kind`. `offset` is where a file's `size` bytes start; other members have no
    bytes. `mtime` is in seconds; `pax` holds the records of the extended header.
    """

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: float
    target: bytes
    device: tuple[int, int]
    offset: int
    pax: Mapping[bytes, bytes]

    @property
    def xattrs(self) -> dict[bytes, bytes]:
        """The extended attributes."""
        return {
            key.removeprefix(XATTR_PREFIX): value
            for key, value in self.pax.items()
            if key.startswith(XATTR_PREFIX)
        }
