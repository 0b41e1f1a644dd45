"""Stores in the file system: that of the machine, or one below another root."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from msgspec import Struct, field

from nixdock.errors import PackError, StoreError
from nixdock.nix.case_hack import name_in_nar
from nixdock.nix.closure import Closure
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import DATABASE_FILE, StorePath
from nixdock.tar.faults import tree_error
from nixdock.tar.header import Entry
from nixdock.tar.walk import walk

__all__ = ["LocalStore"]


class LocalStore(Struct, frozen=True):
    """The store below the directory `root`, as with Nix's `local?root=` stores; by default `/`.

    Its files are trusted: their NAR hashes are not computed. `promised` are hashes that paths are
    to have, and `changed` the hashes by Nix's database of those that have others: these paths are
    not read.
    """

    root: str = ""
    promised: Mapping[StorePath, Hash] = field(default_factory=dict)
    changed: Mapping[StorePath, Hash] = field(default_factory=dict)

    def file(self, name: str) -> str:
        """Return where a file of the store lies."""
        return f"{self.root}{name}"

    def closure(self, roots: Iterable[StorePath]) -> Closure:
        """Return the closure of the roots, by the database of the store."""
        from nixdock.stores.local_database import local_closure  # noqa: PLC0415 (loads SQLite)

        return local_closure(self.root, roots)

    def promising(self, nar_hashes: Mapping[StorePath, Hash]) -> LocalStore:
        """Return the store without the paths that have other hashes by the database of the store.

        Without a database that can be read, its files are trusted.
        """
        if not nar_hashes or not os.access(f"{self.root}/{DATABASE_FILE}", os.R_OK):
            return self
        from nixdock.stores.local_database import LocalDatabase  # noqa: PLC0415 (loads SQLite)

        with suppress(StoreError):
            changed = LocalDatabase(self.root).changed(nar_hashes)
            return LocalStore(self.root, nar_hashes, changed) if changed else self
        return self

    def lacks(self, path: StorePath) -> bool:
        """Tell whether the path is another one; that it does not exist is an error when read."""
        return path in self.changed

    def waits_for(self, path: StorePath) -> bool:  # noqa: ARG002 (the interface's)
        """Return False: all files are on this machine."""
        return False

    def entries(self, path: StorePath, nar_hash: Hash | None = None) -> Iterator[Entry]:  # noqa: ARG002 (the interface's)
        """Yield the entries of a store path, whose files are read from where they lie.

        Raise PackError if the path does not exist, or as `walk` does, and StoreError if it is not
        the one that was promised.
        """
        self._check(path)
        return walk(os.fsencode(self.file(path)), os.fsencode(path), name_in_nar())

    def listing(self, path: StorePath, nar_hash: Hash | None = None) -> Iterator[Entry]:
        """Yield the same entries."""
        return self.entries(path, nar_hash)

    def directory_of(self, paths: Sequence[StorePath]) -> str | None:
        """Return the directory of the store; raise what `entries` raises for each path."""
        for path in paths:
            self._check(path)
        return self.file(paths[0].rpartition("/")[0]) if paths else None

    def _check(self, path: StorePath) -> None:
        file = self.file(path)
        if path in self.changed:
            raise StoreError(
                f"{file} has the NAR hash {self.changed[path]} by Nix's database, not"
                f" {self.promised[path]}: it was built anew, with another result; copy the right"
                " one into this store, name a binary cache that has it with --store, or resolve"
                " the spec again",
                path=file,
            )
        try:
            os.lstat(file)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
                raise tree_error(os.fsencode(file), error.errno or 0) from None
            raise PackError(
                f"{file} does not exist; build or copy it into this store first", path=file
            ) from None

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
