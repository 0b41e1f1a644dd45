"""Reading the Nix database of an untrusted image, in bounded time and memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nixdock.errors import ImageError, InputError
from nixdock.nix.closure import PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.system.text import shown

__all__ = ["Database", "read_database"]

Database = tuple[tuple[PathInfo, ...], dict[StorePath, dict[str, str]]]
"""The registered paths, and the outputs of each derivation."""

# SQLite calls the progress handler after so many virtual instructions, and at most so many times:
# enough for tens of millions of rows.
_STEPS: Final = 1000
_MOST_STEPS: Final = 1_000_000
# In all tables together. A damaged file can show the same page many times.
_MOST_ROWS: Final = 10_000_000
_MOST_TEXT: Final = 512 << 20
_MOST_PATHS: Final = 1_000_000
# Far more than Nix's own tables need, but small enough for any memory.
_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: 1 << 20,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1 << 16,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 10,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 10_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 10,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_TABLES: Final = ("DerivationOutputs", "Refs", "ValidPaths")
_MOST_MESSAGE: Final = 500


def read_database(file: Path, place: str) -> Database:
    """Read Nix's database in `file`; raise ImageError, with `place` as its subject, if it is none.

    The file is not trusted: it may not execute its own SQL, and neither run nor grow without bound.
    """
    try:
        with closing(sqlite3.connect(file)) as connection:
            _restrict(connection)
            rows = _Rows(connection)
            return tuple(_registered(rows)), _outputs(rows)
    except (sqlite3.Error, InputError, TypeError, ValueError) as error:
        message = shown(str(error), _MOST_MESSAGE)
        raise ImageError(f"{place} is not a Nix database: {message}", place=place) from None


def _restrict(connection: sqlite3.Connection) -> None:
    """Set SQLite's limits; raise ValueError unless Nix's tables are there and have plain columns.

    A generated column would compute values of any size, with functions that the file chooses.
    """
    for category, limit in _LIMITS.items():
        connection.setlimit(category, limit)
    connection.execute("pragma trusted_schema = off")
    connection.execute("pragma cell_size_check = on")
    left = _MOST_STEPS

    def count() -> int:
        nonlocal left
        left -= 1
        return left < 0

    connection.set_progress_handler(count, _STEPS)
    # A view or a virtual table has no root page.
    kinds = connection.execute(
        "select name, type, rootpage > 0 from sqlite_master"
        " where name in ('ValidPaths', 'Refs', 'DerivationOutputs') order by name"
    ).fetchmany(4)
    if kinds != [(table, "table", 1) for table in _TABLES]:
        raise ValueError("it lacks Nix's tables")
    for table in _TABLES:
        for column in connection.execute(f"pragma table_xinfo({table})"):
            if column[6]:
                name = shown(str(column[1]))
                raise ValueError(f"the column {name!r} of {table} is computed, not stored")


@dataclass(slots=True)
class _Rows:
    """Queries whose results are counted, so that a hostile file can't use up the memory."""

    connection: sqlite3.Connection
    rows: int = 0
    text: int = 0

    def of(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of `query`; raise ValueError if all queries have too many."""
        for row in self.connection.execute(query):
            self.rows += 1
            self.text += sum(len(value) for value in row if isinstance(value, str | bytes))
            if self.rows > _MOST_ROWS or self.text > _MOST_TEXT:
                raise ValueError(
                    f"it has over {_MOST_ROWS} rows or over {_MOST_TEXT} bytes of text"
                )
            yield row


def _registered(rows: _Rows) -> Iterable[PathInfo]:
    paths: dict[int, StorePath] = {}
    values = {}
    query = "select id, path, hash, narSize, deriver from ValidPaths"
    for number, path, nar_hash, nar_size, deriver in rows.of(query):
        paths[number] = StorePath.parse(path)
        if len(paths) > _MOST_PATHS:
            raise ValueError(f"it has more than {_MOST_PATHS} paths")
        if not isinstance(nar_size, int) or nar_size < 0:
            raise ValueError(f"the NAR size of {shown(path)} is {shown(repr(nar_size))}")
        values[number] = (nar_size, Hash.parse(nar_hash), None if deriver is None else str(deriver))
    references: dict[int, set[StorePath]] = {number: set() for number in paths}
    for referrer, reference in rows.of("select referrer, reference from Refs"):
        if referrer not in paths or reference not in paths:
            raise ValueError("a reference is from or to an unknown path")
        references[referrer].add(paths[reference])
    for number, path in paths.items():
        nar_size, digest, deriver = values[number]
        yield PathInfo(path, nar_size, digest, tuple(sorted(references[number])), deriver)


def _outputs(rows: _Rows) -> dict[StorePath, dict[str, str]]:
    """Return the outputs of each registered derivation, which may have none."""
    paths = {
        number: StorePath.parse(path)
        for number, path in rows.of("select id, path from ValidPaths")
        if isinstance(path, str) and path.endswith(".drv")
    }
    outputs: dict[StorePath, dict[str, str]] = {path: {} for path in paths.values()}
    for number, name, path in rows.of("select drv, id, path from DerivationOutputs"):
        if number in paths:
            outputs[paths[number]][str(name)] = StorePath.parse(path)
    return outputs
