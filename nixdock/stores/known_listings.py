"""What is in NARs that have been read, by their hashes, in files of the user.

So links at `/` are made again without the NARs. Whatever is wrong with a file, the NAR is just read
again; whoever can write the files can change the links, but could as well replace nixdock.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from nixdock.nix.hashes import Hash
from nixdock.nix.nar_entry import NarEntry
from nixdock.system.cached_files import CachedFiles

__all__ = ["KnownListings"]

_MOST_LISTINGS: Final = 256
_MOST_SIZE: Final = 8 << 20


class _Listing(msgspec.Struct, frozen=True):
    """The entries of the NAR with that hash."""

    nar_hash: str
    entries: list[NarEntry]


class KnownListings:
    """The listings in a directory; without one, nothing is known."""

    def __init__(self, directory: Path | None) -> None:
        self._files = CachedFiles(directory and directory / "listings", _MOST_LISTINGS)

    def find(self, nar_hash: Hash) -> list[NarEntry] | None:
        """Return the entries of the NAR with that hash, or None if they are not known."""
        data = self._files.read(nar_hash.digest.hex(), _MOST_SIZE)
        if data is None:
            return None
        try:
            listing = msgspec.json.decode(data, type=_Listing)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return listing.entries if listing.nar_hash == str(nar_hash) else None

    def add(self, nar_hash: Hash, entries: Sequence[NarEntry]) -> None:
        """Remember the entries of a NAR whose hash has been verified, unless they are too many."""
        data = msgspec.json.encode(_Listing(str(nar_hash), [*entries]))
        if len(data) < _MOST_SIZE:
            self._files.write([(nar_hash.digest.hex(), data)])
