"""The members of a tar that is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from nixdock.tar.fields import XATTR_PREFIX

__all__ = ["Member"]

# The most common records are a long path and nothing else.
_LONG_PATH: Final = frozenset({b"path"})


class Member(NamedTuple):
    """A member of a tar; its name and its target are bytes, unchanged from the archive.

    `kind` is a constant of `Kind`. The `size` bytes of a file start at `offset`; other members
    have none. `mtime` is in seconds, and `pax` has the records of the extended header. `extents`
    are the offset and size of each part of a sparse file that is stored, one after the other; zeros
    fill the rest.
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
    extents: tuple[tuple[int, int], ...] | None = None

    @property
    def xattrs(self) -> dict[bytes, bytes]:
        """The extended attributes by name."""
        if not self.pax or self.pax.keys() == _LONG_PATH:
            return {}
        return {
            key.removeprefix(XATTR_PREFIX): value
            for key, value in self.pax.items()
            if key.startswith(XATTR_PREFIX)
        }
