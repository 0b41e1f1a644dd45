"""Nix databases that are not trusted: refused in little time and memory."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from nixdock.errors import ImageError
from nixdock.read import untrusted_sqlite
from nixdock.read.nix_database import read_database
from nixdock.read.untrusted_sqlite import OtherDatabaseError

TABLES = """
create table ValidPaths(id integer primary key, path text, hash text, narSize integer,
  deriver text);
create table Refs(referrer integer, reference integer);
create table DerivationOutputs(drv integer, id text, path text);
"""
PATH = f"/nix/store/{'a' * 32}-a"
ROW = f"insert into ValidPaths values (1, '{PATH}', 'sha256:{'0' * 64}', 7, null);"


def database(file: Path, script: str) -> Path:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script)
    return file


def refusal(file: Path) -> str:
    with pytest.raises(ImageError) as error:
        read_database(file, "/db")
    assert error.value.place == "/db"
    return str(error.value)


@pytest.mark.parametrize("storage", ["virtual", "stored"])
@pytest.mark.parametrize("column", ["path text", "hash text", "narSize integer", "deriver text"])
def test_computed_columns_are_refused(tmp_path: Path, column: str, storage: str) -> None:
    computed = f"{column} generated always as (printf('%.*c', 9, 'a')) {storage}"
    file = database(tmp_path / "db", TABLES.replace(column, computed, 1))
    name = column.split(maxsplit=1)[0]
    assert refusal(file) == (
        f"/db is not a Nix database: the column '{name}' of ValidPaths is computed, not stored"
    )


def test_virtual_tables_are_refused(tmp_path: Path) -> None:
    refs = "create table Refs(referrer integer, reference integer)"
    virtual = "create virtual table Refs using fts5(referrer, reference)"
    file = database(tmp_path / "db", TABLES.replace(refs, virtual))
    with pytest.raises(OtherDatabaseError, match=r"^/db is not a Nix database: it lacks .* Refs$"):
        read_database(file, "/db")


@pytest.mark.slow
def test_computed_columns_take_no_memory(tmp_path: Path) -> None:
    computed = "path text generated always as (printf('%.*c', 900000000, 'a'))"
    file = database(
        tmp_path / "db",
        TABLES.replace("path text", computed, 1)
        + "insert into ValidPaths(hash, narSize) values ('sha256:00', 1);",
    )
    code = (
        "from pathlib import Path; from nixdock.read.nix_database import read_database;"
        f"read_database(Path({str(file)!r}), '/db')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29)),
    )
    assert "ImageError: /db is not a Nix database" in done.stderr.splitlines()[-1]
    assert "MemoryError" not in done.stderr


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("update ValidPaths set path = printf('%.*c', 2000000, 'a')", "string or blob too big"),
        ("update ValidPaths set path = printf('%.*c', 900000, 'a')", "'aaa"),
        ("update ValidPaths set path = 'a' || char(27, 10)", "is not a store path"),
        ("update ValidPaths set narSize = printf('%.*c', 900000, 'a')", "the NAR size of /nix/"),
        ("update ValidPaths set hash = printf('%.*c', 900000, 'a')", "aaa"),
        ("update ValidPaths set hash = null", "None is not a hash"),
        ("update ValidPaths set hash = 5", "'5' is not a hash"),
        ("update ValidPaths set hash = x'00'", r"b'\x00' is not a hash"),
        ("update ValidPaths set path = null", "None is not a store path"),
        ("insert into Refs values (1, 2)", "a reference is from or to an unknown path"),
    ],
)
def test_errors_are_one_short_line(tmp_path: Path, script: str, reason: str) -> None:
    message = refusal(database(tmp_path / "db", f"{TABLES}{ROW}{script};"))
    assert reason in message
    assert len(message) < 600
    assert message.isprintable()


def test_text_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = database(tmp_path / "db", TABLES + ROW)
    infos, _ = read_database(file, "/db")
    assert [info.path for info in infos] == [PATH]
    monkeypatch.setattr(untrusted_sqlite, "_MOST_BYTES", 20)
    assert "has over 10000000 rows or over 20 bytes of text" in refusal(file)
