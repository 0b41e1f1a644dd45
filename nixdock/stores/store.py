"""The Store interface: layers are packed from stores, whichever kind they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from nixdock.nix.closure import Closure
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.tar.header import Entry

__all__ = ["Store"]


class Store(Protocol):
    """A store, from which store paths are read; worker processes use copies of it."""

    def closure(self, roots: Iterable[StorePath]) -> Closure:
        """Return the closure of the roots: the infos of all paths that they refer to.

        Raise MissingPathsError, with all paths that no store has, or none that is trusted.
        """

    def promising(self, nar_hashes: Mapping[StorePath, Hash]) -> Store:
        """Return the store for paths whose NAR hashes are known: those need no signatures."""

    def lacks(self, path: StorePath) -> bool:
        """Tell whether the files of a store path, which may be anywhere, are surely not local."""

    def waits_for(self, path: StorePath) -> bool:
        """Tell whether to read a store path means to wait for a machine that is far away."""

    def entries(self, path: StorePath, nar_hash: Hash | None = None) -> Iterator[Entry]:
        """Yield the entries of a store path, depth first and by name; write each before the next.

        If `nar_hash` is given and the files come from elsewhere, their NAR must have that hash,
        and needs no signature. Raise PackError if a local file can't be read, MissingPathsError if
        the path is nowhere, and CacheError if a binary cache fails or sends other bytes, after the
        last entry at the latest.
        """

    def listing(self, path: StorePath, nar_hash: Hash | None = None) -> Iterator[Entry]:
        """Yield the same entries, whose files can perhaps not be read: names, modes and sizes."""

    def directory_of(self, paths: Sequence[StorePath]) -> str | None:
        """Return the directory that has the files of all these paths, or None if none has.

        Raise PackError if a path should be in the file system and is not.
        """

    def has_file(self, path: StorePath, name: str) -> bool:
        """Tell whether a store path has the file `name`, a whole path, not behind a symlink."""

    def may_have_file(self, path: StorePath, name: str) -> bool:
        """Tell whether it has the file, which may be behind symlinks that lead anywhere."""
