"""SQLite databases of an untrusted image, read in bounded time and memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from nixdock.errors import ImageError, InputError
from nixdock.system.text import shown

__all__ = ["OtherDatabaseError", "Rows", "open_database"]

# SQLite calls the progress handler after so many virtual instructions, and at most so many times:
# enough for tens of millions of rows.
_STEPS: Final = 1000
_MOST_STEPS: Final = 1_000_000
# In all tables together. A damaged file can show the same page many times.
_MOST_ROWS: Final = 10_000_000
_MOST_BYTES: Final = 512 << 20
# Far more than the tables that are read need, but small enough for any memory.
_LIMITS: Final = {
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
_MOST_MESSAGE: Final = 500


class OtherDatabaseError(Exception):
    """A file is no SQLite database, or one without the tables that it is to have.

    It need not be damaged. The message names the file.
    """


class _LacksTableError(ValueError):
    pass


class Rows(Struct):
    """Queries whose results are counted, so that a hostile file can't use up the memory."""

    connection: sqlite3.Connection
    rows: int = 0
    size: int = 0

    def of(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of `query`; raise ValueError if all queries have too many."""
        for row in self.connection.execute(query):
            self.rows += 1
            self.size += sum(len(value) for value in row if isinstance(value, str | bytes))
            if self.rows > _MOST_ROWS or self.size > _MOST_BYTES:
                raise ValueError(
                    f"it has over {_MOST_ROWS} rows or over {_MOST_BYTES} bytes of text"
                )
            yield row


@contextmanager
def open_database(
    file: Path, tables: Sequence[str], what: str, place: str, *, most_value: int = 1 << 20
) -> Iterator[Rows]:
    """Open the database in `file`, which is to be `what`, such as "a Nix database", for the block.

    The file is not trusted: it may not execute its own SQL, and neither run nor grow without bound;
    a value has at most `most_value` bytes. Raise OtherDatabaseError, with `place` as its subject,
    if it is something else; raise ImageError if it is damaged, and for each InputError, TypeError
    or ValueError of the block.
    """
    try:
        with closing(sqlite3.connect(file)) as connection:
            _restrict(connection, most_value)
            _check(connection, tables)
            yield Rows(connection)
    except (sqlite3.Error, InputError, TypeError, ValueError) as error:
        message = f"{place} is not {what}: {shown(str(error), _MOST_MESSAGE)}"
        if _is_other(error):
            raise OtherDatabaseError(message) from None
        raise ImageError(message, place=place) from None


def _is_other(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, _LacksTableError) or code == sqlite3.SQLITE_NOTADB


def _restrict(connection: sqlite3.Connection, most_value: int) -> None:
    for category, limit in _LIMITS.items():
        connection.setlimit(category, limit)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, most_value)
    connection.execute("pragma trusted_schema = off")
    connection.execute("pragma cell_size_check = on")
    left = _MOST_STEPS

    def count() -> int:
        nonlocal left
        left -= 1
        return left < 0

    connection.set_progress_handler(count, _STEPS)


def _check(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    """Raise ValueError unless `tables` are there, and have plain columns.

    A generated column would compute values of any size, with functions that the file chooses.
    """
    for table in tables:
        # A view or a virtual table has no root page.
        query = "select type, rootpage > 0 from sqlite_master where name = ?"
        if connection.execute(query, [table]).fetchmany(2) != [("table", 1)]:
            raise _LacksTableError(f"it lacks the table {table}")
        for column in connection.execute(f"pragma table_xinfo({table})"):
            if column[6]:
                name = shown(str(column[1]))
                raise ValueError(f"the column {name!r} of {table} is computed, not stored")
