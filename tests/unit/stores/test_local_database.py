"""The valid paths of a store, from a database as Nix has it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from nixdock.errors import MissingPathsError, StoreError
from nixdock.nix.database import write_nix_db
from nixdock.stores.local import LocalStore
from nixdock.stores.local_database import LocalDatabase

from .fake_cache import FakeCache
from .reaching import contents_of, open_sample
from .sample_cache import APP, LIBC, LINK, Sample

DATABASE = "nix/var/nix/db/db.sqlite"


@pytest.fixture
def root(closure: Sample, tmp_path: Path) -> Path:
    """A root with a database, of which no path is there."""
    write_nix_db(closure.closure, tmp_path / "root", registration_time=1)
    return tmp_path / "root"


def test_infos_are_those_that_were_registered(closure: Sample, root: Path) -> None:
    database = LocalDatabase(str(root))
    for info in closure.closure:
        assert database.info(info.path) == info
    assert database.exists
    assert LocalStore(str(root)).closure([APP]) == closure.closure
    assert LocalStore(str(root)).closure([LINK]) == closure.closure.reached_from([LINK])


def test_a_database_that_is_being_written_can_be_read(closure: Sample, root: Path) -> None:
    with closing(sqlite3.connect(root / DATABASE)) as writer:
        writer.execute("begin")
        writer.execute("update ValidPaths set narSize = 1")
        assert LocalDatabase(str(root)).info(LIBC) == closure.closure[LIBC]


def test_without_a_database_nothing_is_valid(tmp_path: Path) -> None:
    database = LocalDatabase(str(tmp_path))
    assert database.info(LIBC) is None
    assert not database.exists
    with pytest.raises(MissingPathsError) as caught:
        LocalStore(str(tmp_path)).closure([LIBC])
    assert str(caught.value) == (
        f"the local store does not have {LIBC}, because {tmp_path}/{DATABASE} can't be read; build"
        " or copy what is missing, or name a binary cache with --store"
    )


def test_a_damaged_database(root: Path) -> None:
    with closing(sqlite3.connect(root / DATABASE)) as connection, connection:
        connection.execute("update ValidPaths set hash = 'sha256:x'")
    with pytest.raises(StoreError, match=rf"Nix's database {root}/{DATABASE} can't be read: "):
        LocalDatabase(str(root)).info(LIBC)


def test_child_processes_have_connections_of_their_own(closure: Sample, root: Path) -> None:
    database = LocalDatabase(str(root))
    assert database.info(LIBC)
    pid = os.fork()
    if not pid:
        os._exit(0 if database.info(LIBC) == closure.closure[LIBC] else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_what_is_valid_locally_is_not_asked_of_caches(
    closure: Sample, root: Path, fake: FakeCache
) -> None:
    stores = open_sample(fake.url, root=str(root))
    assert stores.closure([APP]) == closure.closure
    assert fake.names == []


def test_a_path_that_is_only_being_added_is_not_used(
    closure: Sample, root: Path, fake: FakeCache
) -> None:
    """Nix puts a path in place before it registers it, so that a part of it may be there."""
    with closing(sqlite3.connect(root / DATABASE)) as connection, connection:
        connection.execute("delete from Refs")
        connection.execute("delete from ValidPaths where path = ?", (LIBC,))
    part = Path(f"{root}{LIBC}")
    part.mkdir(parents=True)
    stores = open_sample(fake.url, root=str(root))
    assert contents_of(stores, LIBC) == contents_of(open_sample(fake.url), LIBC)
