"""What caches have answered, in a database of the user, for as long as Nix takes it to be true."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

__all__ = ["AnswerCache"]

# In seconds: narinfo-cache-positive-ttl and narinfo-cache-negative-ttl of Nix.
_PRESENT: Final = 30 * 24 * 3600
_ABSENT: Final = 3600
_FILE: Final = "binary-caches.sqlite"
_VERSION: Final = 1
_SCHEMA: Final = """
create table if not exists Answers (
  url text not null,
  name text not null,
  time integer not null,
  data blob,
  primary key (url, name)
) without rowid;
"""
# How long to wait for another process that writes, in seconds.
_PATIENCE: Final = 5.0
# How many answers wait for one transaction at most.
_MOST_WAITING: Final = 500


class AnswerCache:
    """The files that caches have, or lack, by the URL of the cache and their names.

    Nothing is known without a `directory`. Whatever is wrong with the database, the caches are just
    asked again. What comes from it is checked like what comes from a cache. Several threads and
    processes may use it.
    """

    def __init__(self, directory: Path | None, now: Callable[[], float] = time.time) -> None:
        self.file = None if directory is None else directory / _FILE
        self._now = now
        self._lock = threading.Lock()
        # A connection must not be used in a child process, nor a lock that a thread has held.
        self._process = os.getpid()
        self._connection: sqlite3.Connection | None = None
        # What was added in blocks of `together`, of which so many are entered.
        self._waiting: list[tuple[str, str, int, bytes | None]] = []
        self._blocks = 0
        # Whether anything of a cache is known, by its URL, as long as blocks are entered.
        self._known: dict[str, bool] = {}

    def find(self, url: str, name: str) -> tuple[bytes | None] | None:
        """Return the file in a tuple, with None in it if the cache lacks it; None if unknown."""
        row = None
        with self._locked(), suppress(sqlite3.Error, OSError):
            if (connection := self._opened()) is not None and self._knows(connection, url):
                query = "select time, data from Answers where url = ? and name = ?"
                row = connection.execute(query, (url, name)).fetchone()
        if row is None:
            return None
        answered, data = row
        if not isinstance(answered, int) or not isinstance(data, bytes | None):
            return None
        age = self._now() - answered
        if not 0 <= age < (_ABSENT if data is None else _PRESENT):
            return None
        return (data,)

    def add(self, url: str, name: str, data: bytes | None) -> None:
        """Remember a file, or that there is none."""
        with self._locked():
            self._waiting.append((url, name, int(self._now()), data))
            if not self._blocks or len(self._waiting) >= _MOST_WAITING:
                self._write_waiting()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write what is added within the block at once, since each transaction takes its time.

        It may not be found before the end of the block, nor what other processes add meanwhile.
        """
        with self._locked():
            self._blocks += 1
        try:
            yield
        finally:
            with self._locked():
                self._blocks = max(0, self._blocks - 1)
                if not self._blocks:
                    self._write_waiting()
                    self._known = {}

    def _knows(self, connection: sqlite3.Connection, url: str) -> bool:
        """Tell whether to look for what a cache has answered.

        Of a cache that is new, a closure may have thousands of paths to look for in vain.
        """
        if not self._blocks:
            return True
        if url not in self._known:
            query = "select 1 from Answers where url = ? limit 1"
            self._known[url] = connection.execute(query, (url,)).fetchone() is not None
        return self._known[url]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._process != os.getpid():
            self._lock, self._connection, self._process = threading.Lock(), None, os.getpid()
            # The parent writes them.
            self._waiting, self._blocks, self._known = [], 0, {}
        with self._lock:
            yield

    def _write_waiting(self) -> None:
        rows, self._waiting = self._waiting, []
        with suppress(sqlite3.Error, OSError):
            if rows and (connection := self._opened()) is not None:
                connection.execute("begin immediate")
                with connection:
                    connection.executemany(
                        "insert or replace into Answers values (?, ?, ?, ?)", rows
                    )

    def _opened(self) -> sqlite3.Connection | None:
        if self._connection is None and self.file is not None:
            self._connection = _database(self.file, int(self._now()) - _PRESENT)
        return self._connection


def _database(file: Path, oldest: int) -> sqlite3.Connection:
    """Open the database, without what was answered before the time `oldest`."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection = sqlite3.connect(
        file, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("pragma synchronous = off")
        connection.execute("pragma journal_mode = wal")
        (version,) = connection.execute("pragma user_version").fetchone()
        if version != _VERSION:
            connection.execute("drop table if exists Answers")
            connection.executescript(_SCHEMA)
            connection.execute(f"pragma user_version = {_VERSION}")
        else:
            connection.execute("delete from Answers where time < ?", (oldest,))
    except BaseException:
        connection.close()
        raise
    return connection
