"""What caches have answered, in a database of the user, for as long as Nix takes it to be true."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
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


class AnswerCache:
    """The files that caches have, or lack, by the URL of the cache and their names.

    Nothing is known without a `directory`. Whatever is wrong with the database, the caches are just
    asked again. What comes from it is checked like what comes from a cache. Several threads and
    processes may use it.
    """

    def __init__(self, directory: Path | None, now: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._now = now
        self._lock = threading.Lock()
        # A connection must not be used in a child process, nor a lock that a thread has held.
        self._process = 0
        self._connection: sqlite3.Connection | None = None

    def find(self, url: str, name: str) -> tuple[bytes | None] | None:
        """Return the file in a tuple, with None in it if the cache lacks it; None if unknown."""
        row = self._execute("select time, data from Answers where url = ? and name = ?", url, name)
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
        self._execute(
            "insert or replace into Answers values (?, ?, ?, ?)", url, name, int(self._now()), data
        )

    def _execute(self, query: str, *values: str | int | bytes | None) -> tuple[object, ...] | None:
        if self._directory is None:
            return None
        if self._process != os.getpid():
            self._lock, self._connection, self._process = threading.Lock(), None, os.getpid()
        with self._lock, suppress(sqlite3.Error, OSError):
            if self._connection is None:
                self._connection = self._opened(self._directory)
            row: tuple[object, ...] | None = self._connection.execute(query, values).fetchone()
            return row
        return None

    def _opened(self, directory: Path) -> sqlite3.Connection:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(
            directory / _FILE, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
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
                oldest = int(self._now()) - _PRESENT
                connection.execute("delete from Answers where time < ?", (oldest,))
        except BaseException:
            connection.close()
            raise
        return connection
