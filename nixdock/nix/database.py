"""Writing a Nix database without Nix: db.sqlite, its schema version and gc roots.

Nix uses the file as if it had written it: the tables are those of its schema version 10, and the
journal mode is the one that it sets. The bytes depend on the registrations alone: the version of
SQLite and the change counter in the file's header are overwritten with constants.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from nixdock.errors import ClosureError, OutputError
from nixdock.nix.closure import Closure
from nixdock.nix.derivation import outputs_of_derivation
from nixdock.nix.registrations import known_nar_hash
from nixdock.nix.store_path import StorePath
from nixdock.system.presence import exists, is_directory
from nixdock.system.removal import remove_tree
from nixdock.system.renaming import sync, sync_tree
from nixdock.system.scratch import temporary_directory

__all__ = ["SCHEMA_VERSION", "write_nix_db"]

SCHEMA_VERSION: Final = 10

DB_DIRECTORY: Final = "nix/var/nix/db"
GC_ROOTS: Final = "nix/var/nix/gcroots/docker"

_PAGE_SIZE: Final = 4096
_SCHEMA: Final = """
create table ValidPaths (
  id integer primary key autoincrement not null,
  path text unique not null,
  hash text not null,
  registrationTime integer not null,
  deriver text,
  narSize integer,
  ultimate integer,
  sigs text,
  ca text
);
create table Refs (
  referrer integer not null,
  reference integer not null,
  primary key (referrer, reference),
  foreign key (referrer) references ValidPaths(id) on delete cascade,
  foreign key (reference) references ValidPaths(id) on delete restrict
);
create index IndexReferrer on Refs(referrer);
create index IndexReference on Refs(reference);
create trigger DeleteSelfRefs before delete on ValidPaths begin
  delete from Refs where referrer = old.id and reference = old.id;
end;
create table DerivationOutputs (
  drv integer not null,
  id text not null,
  path text not null,
  primary key (drv, id),
  foreign key (drv) references ValidPaths(id) on delete cascade
);
create index IndexDerivationOutputs on DerivationOutputs(path);
"""

# Offsets in the header of an SQLite file (SQLite's "Database File Format", "The Database Header").
_WRITE_VERSION: Final = 18
_CHANGE_COUNTER: Final = 24
_VALID_FOR: Final = 92
_WAL: Final = b"\x02\x02"
_LIBRARY_VERSION: Final = (3_040_000).to_bytes(4, "big")


def write_nix_db(
    closure: Closure,
    directory: Path,
    *,
    gc_roots: Iterable[StorePath] = (),
    registration_time: int,
    root: str = "",
    derivation_outputs: Mapping[StorePath, Mapping[str, str]] | None = None,
) -> None:
    """Write the database of `closure` below `directory`, and symlinks for `gc_roots`.

    Without `gc_roots`, the roots are those of the closure. `registration_time` is in seconds since
    1970. `root` is the directory below which the store lies; it is read only for the outputs of
    derivations that are not in `derivation_outputs`.

    Raise ClosureError if a path has no NAR hash or a root is not in the closure, StoreError if a
    derivation can't be read, and OutputError if the database exists or can't be written, or if a
    directory below `directory` is a symlink, which may lead elsewhere.
    """
    roots = tuple(gc_roots) or closure.roots
    for path in roots:
        if path not in closure:
            raise ClosureError(f"the gc root {path} is not in the closure", path=path)
    known_outputs = derivation_outputs or {}

    def outputs_of(path: StorePath) -> Mapping[str, str]:
        if path in known_outputs:
            return known_outputs[path]
        return outputs_of_derivation(Path(f"{root}{path}"))

    rows = _Rows(closure, registration_time, outputs_of)
    database = directory / DB_DIRECTORY
    try:
        if exists(database):
            raise OutputError(
                f"{database} already exists; remove it or choose another directory", path=database
            )
        with _made_directory(directory), temporary_directory(directory / "db") as fresh:
            _write_database(fresh / "db.sqlite", rows)
            (fresh / "schema").write_text(str(SCHEMA_VERSION))
            for file in fresh.iterdir():
                file.chmod(0o644)
            fresh.chmod(0o755)
            with _directory_below(directory, GC_ROOTS) as links:
                for path in sorted(roots):
                    _make_link(path, path.base_name, links)
            sync_tree(fresh)
            name = database.name
            with _directory_below(directory, DB_DIRECTORY.removesuffix(f"/{name}")) as parent:
                os.rename(fresh, name, dst_dir_fd=parent)
            sync(database.parent)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OutputError(
            f"can't write the Nix database below {directory}: {reason}", path=directory
        ) from None


@contextmanager
def _made_directory(directory: Path) -> Iterator[None]:
    """Make a directory, if there is none, and remove it again if the block fails."""
    if is_directory(directory):
        yield
        return
    directory.mkdir()
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield
    except BaseException:
        remove_tree(directory, descriptor)
        raise
    finally:
        os.close(descriptor)


_OutputsOf = Callable[[StorePath], Mapping[str, str]]


class _Rows:
    """The rows of the tables; ids number the paths from 1, in ascending order."""

    def __init__(self, closure: Closure, registration_time: int, outputs_of: _OutputsOf) -> None:
        self._closure = closure
        self._ids = {path: i for i, path in enumerate(closure.infos, 1)}
        self.valid_paths = [
            (
                self._ids[info.path],
                str(info.path),
                f"sha256:{known_nar_hash(info).base16}",
                registration_time,
                info.deriver,
                info.nar_size,
            )
            for info in closure
        ]
        self.derivation_outputs = [
            (i, name, output)
            for path, i in self._ids.items()
            if path.endswith(".drv")
            for name, output in sorted(outputs_of(path).items())
        ]

    def references(self) -> Iterator[tuple[int, int]]:
        for info in self._closure:
            referrer = self._ids[info.path]
            yield from ((referrer, self._ids[reference]) for reference in info.references)


def _write_database(file: Path, rows: _Rows) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        execute = connection.execute
        # Set every pragma whose default depends on SQLite's build options. No journal and no
        # syncing are needed: the file is still private, and is deleted if writing it fails.
        for pragma in (
            f"page_size = {_PAGE_SIZE}",
            "auto_vacuum = none",
            "encoding = 'UTF-8'",
            "journal_mode = off",
            "synchronous = off",
        ):
            execute(f"pragma {pragma}")
        connection.executescript(_SCHEMA)
        execute("begin")
        connection.executemany(
            "insert into ValidPaths (id, path, hash, registrationTime, deriver, narSize)"
            " values (?, ?, ?, ?, ?, ?)",
            rows.valid_paths,
        )
        connection.executemany("insert into Refs values (?, ?)", rows.references())
        connection.executemany(
            "insert into DerivationOutputs values (?, ?, ?)", rows.derivation_outputs
        )
        execute("commit")
    _normalise_header(file)


def _normalise_header(file: Path) -> None:
    """Set the journal mode to WAL, as Nix does, and fix the fields that depend on the writer."""
    with file.open("r+b") as stream:
        stream.seek(_WRITE_VERSION)
        stream.write(_WAL)
        stream.seek(_CHANGE_COUNTER)
        stream.write((1).to_bytes(4, "big"))
        stream.seek(_VALID_FOR)
        stream.write((1).to_bytes(4, "big") + _LIBRARY_VERSION)


@contextmanager
def _directory_below(top: Path, relative: str) -> Iterator[int]:
    """Yield a descriptor of a directory below `top`.

    Directories that are missing are created, with mode 0755 whatever the umask is. Raise
    OutputError if one is a symlink, which may lead out of `top`.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(top, flags)
    try:
        path = top
        for part in relative.split("/"):
            path /= part
            child = _opened_child(descriptor, path, flags | os.O_NOFOLLOW)
            os.close(descriptor)
            descriptor = child
        yield descriptor
    finally:
        os.close(descriptor)


def _opened_child(parent: int, path: Path, flags: int) -> int:
    try:
        os.mkdir(path.name, dir_fd=parent)
    except FileExistsError:
        created = False
    else:
        created = True
    try:
        child = os.open(path.name, flags, dir_fd=parent)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
            raise
        message = f"{path} is a symlink or a file, not a directory; remove it or write elsewhere"
        raise OutputError(message, path=path) from None
    if created:
        os.fchmod(child, 0o755)
    return child


def _make_link(target: str, name: str, directory: int) -> None:
    """Create the symlink `name` in an open directory; one that exists stays as it is."""
    try:
        os.symlink(target, name, dir_fd=directory)
    except FileExistsError:
        info = os.lstat(name, dir_fd=directory)
        if not stat.S_ISLNK(info.st_mode):
            raise
