"""The valid paths of a store in the file system, from the database that Nix keeps of them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from nixdock.errors import InputError, MissingPathsError, StoreError
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import DATABASE_FILE, StorePath
from nixdock.system.text import listed

__all__ = ["LocalDatabase", "local_closure"]

_MOST_NAMED: Final = 5
# SQLite takes 999 at least.
_MOST_VALUES: Final = 900
_HASHES: Final = "select path, hash from ValidPaths where path in"
_INFO: Final = "select id, hash, narSize, deriver from ValidPaths where path = ?"
_REFERENCES: Final = (
    "select path from Refs join ValidPaths on reference = id where referrer = ? order by path"
)


class LocalDatabase:
    """The database below the directory `root`, which Nix may write to meanwhile."""

    def __init__(self, root: str) -> None:
        self.file = Path(root or "/", DATABASE_FILE)
        self._connection: sqlite3.Connection | None = None
        # The process that has opened it: a connection must not be used in its child processes.
        self._process = 0

    def info(self, path: StorePath) -> PathInfo | None:
        """Return the info of a valid path, or None; also if there is no database that can be read.

        Raise StoreError if the database is damaged.
        """
        row = next(self._rows(_INFO, path), None)
        if row is None:
            return None
        number, nar_hash, nar_size, deriver = row
        references = (text for (text,) in self._rows(_REFERENCES, number))
        try:
            return PathInfo(
                path,
                int(nar_size or 0),
                Hash.parse(nar_hash),
                tuple(map(StorePath.parse, references)),
                deriver or None,
            )
        except (InputError, TypeError, ValueError) as error:
            raise self._damaged(error) from None

    def changed(self, promised: Mapping[StorePath, Hash]) -> dict[StorePath, Hash]:
        """Return the valid paths that have other NAR hashes than promised, with those.

        Whatever is not valid, or has a hash of another kind, can't be compared.
        """
        changed = {}
        ordered = [*promised]
        for start in range(0, len(ordered), _MOST_VALUES):
            paths = ordered[start : start + _MOST_VALUES]
            query = f"{_HASHES} ({', '.join('?' * len(paths))})"
            for text, digest in self._rows(query, *paths):
                try:
                    path, found = StorePath(text), Hash.parse(digest)
                except InputError as error:
                    raise self._damaged(error) from None
                if found.algorithm == promised[path].algorithm and found != promised[path]:
                    changed[path] = found
        return changed

    @property
    def exists(self) -> bool:
        """Whether there is a database that can be read."""
        return self._opened() is not None

    def _rows(self, query: str, *values: object) -> Iterator[tuple[str, ...]]:
        connection = self._opened()
        if connection is None:
            return
        try:
            yield from connection.execute(query, values)
        except sqlite3.Error as error:
            raise self._damaged(error) from None

    def _opened(self) -> sqlite3.Connection | None:
        if self._process != os.getpid():
            self._process, self._connection = os.getpid(), None
            # Without a journal beside it, which only Nix can create, nobody writes to the database.
            for mode in ("mode=ro", "mode=ro&immutable=1"):
                with suppress(sqlite3.Error):
                    self._connection = self._connected(mode)
                    break
        return self._connection

    def _connected(self, mode: str) -> sqlite3.Connection:
        url = f"file:{quote(str(self.file))}?{mode}"
        connection = sqlite3.connect(url, uri=True, check_same_thread=False)
        try:
            connection.execute("select id from ValidPaths limit 1").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(f"Nix's database {self.file} can't be read: {error}", path=self.file)


def local_closure(root: str, roots: Iterable[StorePath]) -> Closure:
    """Return the closure of the roots by the database below `root`.

    Raise MissingPathsError if a path is not valid there.
    """
    database = LocalDatabase(root)
    infos: dict[StorePath, PathInfo] = {}
    waiting = [*roots]
    missing = set()
    while waiting:
        path = waiting.pop()
        info = database.info(path)
        if info is None:
            missing.add(path)
        elif path not in infos:
            infos[path] = info
            waiting += info.references
    if missing:
        names = listed(sorted(missing), _MOST_NAMED)
        reason = "" if database.exists else f", because {database.file} can't be read"
        raise MissingPathsError(
            f"the local store does not have {names}{reason}; build or copy what is missing, or name"
            " a binary cache with --store",
            paths=sorted(missing),
        )
    return Closure.of(infos.values())
