"""Stores in the file system: that of the machine, or one below another root."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from nixdock.errors import PackError
from nixdock.nix.case_hack import name_in_nar
from nixdock.nix.closure import Closure
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.tar.header import Entry
from nixdock.tar.walk import walk

__all__ = ["LocalStore"]


class LocalStore(Struct, frozen=True):
    """The store below the directory `root`, as with Nix's `local?root=` stores; by default `/`.

    Its files are trusted: their NAR hashes are not computed.
    """

    root: str = ""

    def file(self, name: str) -> str:
        """Return where a file of the store lies."""
        return f"{self.root}{name}"

    def closure(self, roots: Iterable[StorePath]) -> Closure:
        """Return the closure of the roots, by the database of the store."""
        from nixdock.stores.local_database import local_closure  # noqa: PLC0415 (loads SQLite)

        return local_closure(self.root, roots)

    def promising(self, nar_hashes: Mapping[StorePath, Hash]) -> LocalStore:  # noqa: ARG002 (the interface's)
        """Return the store itself: its files are trusted."""
        return self

    def lacks(self, path: StorePath) -> bool:  # noqa: ARG002 (the same)
        """Return False: a path that does not exist is an error when it is read."""
        return False

    def entries(self, path: StorePath, nar_hash: Hash | None = None) -> Iterator[Entry]:  # noqa: ARG002 (the same)
        """Yield the entries of a store path, whose files are read from where they lie.

        Raise PackError if the path does not exist, or as `walk` does.
        """
        self._check(path)
        return walk(os.fsencode(self.file(path)), os.fsencode(path), name_in_nar())

    def listing(
        self,
        path: StorePath,
        nar_hash: Hash | None = None,
        *,
        sure: bool = False,  # noqa: ARG002 (the interface's)
    ) -> Iterator[Entry]:
        """Yield the same entries."""
        return self.entries(path, nar_hash)

    def directory_of(self, paths: Sequence[StorePath]) -> str | None:
        """Return the directory of the store; raise PackError if it does not have all paths."""
        for path in paths:
            self._check(path)
        return self.file(paths[0].rpartition("/")[0]) if paths else None

    def _check(self, path: StorePath) -> None:
        file = self.file(path)
        if not os.path.lexists(file):
            raise PackError(
                f"{file} does not exist; build or copy it into this store first", path=file
            )

    def has_file(self, path: StorePath, name: str) -> bool:
        """Tell whether a store path has the file `name`, a whole path, not behind a symlink."""
        parts = name.removeprefix(path).strip("/").split("/")
        current: str = path
        for part in parts if parts != [""] else []:
            if os.path.islink(self.file(current)) or part in {"", ".", ".."}:  # noqa: PTH114 (text)
                return False
            current = f"{current}/{part}"
        return os.path.lexists(self.file(current))

    def may_have_file(self, path: StorePath, name: str) -> bool:  # noqa: ARG002 (the interface's)
        """Tell whether there is such a file, once symlinks are followed."""
        return os.path.lexists(self.file(name))
