"""The valid paths of a store, from a database as Nix has it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from nixdock.errors import MissingPathsError, StoreError
from nixdock.layers.pack import pack
from nixdock.layers.store import StoreLayer
from nixdock.nix.closure import Closure
from nixdock.nix.database import write_nix_db
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.stores.local import LocalStore
from nixdock.stores.local_database import LocalDatabase
from tests.unit.nix.nar_files import File

from .fake_cache import FakeCache
from .reaching import contents_of, open_sample
from .sample_cache import APP, LIBC, LINK, TREES, Sample, sample

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


@pytest.mark.parametrize("digest", ["'sha256:x'", "x'00'"])
def test_a_damaged_database(root: Path, digest: str) -> None:
    with closing(sqlite3.connect(root / DATABASE)) as connection, connection:
        connection.execute(f"update ValidPaths set hash = {digest}")
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


def rebuilt(directory: Path) -> Sample:
    """The store of a machine on which the app was built anew, with another result."""
    app = {b"bin": {b"app": File(b"another program", executable=True)}}
    other = sample(directory, {**TREES, APP: app})
    write_nix_db(other.closure, other.root, registration_time=1)
    return other


def hashes_of(closure: Closure) -> dict[StorePath, Hash]:
    return {info.path: info.nar_hash for info in closure if info.nar_hash is not None}


def test_a_path_that_is_not_what_was_promised_is_not_read(closure: Sample, tmp_path: Path) -> None:
    other = rebuilt(tmp_path / "other")
    promised = hashes_of(closure.closure)
    store = LocalStore(str(other.root)).promising(promised)
    expected = (
        f"{other.root}{APP} has the NAR hash {other.closure[APP].nar_hash} by Nix's database, not"
        f" {promised[APP]}: it was built anew, with another result; copy the right one into this"
        " store, name a binary cache that has it with --store, or resolve the spec again"
    )
    layer = StoreLayer((APP,), store=store, nar_hashes=(promised[APP],))
    for read in (lambda: [*store.listing(APP)], lambda: store.directory_of([LIBC, APP])):
        with pytest.raises(StoreError) as caught:
            read()
        assert str(caught.value) == expected
    with pytest.raises(StoreError):
        pack(layer)
    assert store.lacks(APP)
    assert not store.lacks(LIBC)
    assert [*store.entries(LIBC)]
    same = LocalStore(str(other.root))
    assert same.promising(hashes_of(other.closure)) == same.promising({}) == same


def test_a_path_that_is_not_what_was_promised_comes_from_a_cache(
    closure: Sample, fake: FakeCache, tmp_path: Path
) -> None:
    other = rebuilt(tmp_path / "other")
    stores = open_sample(fake.url, root=str(other.root)).promising(hashes_of(closure.closure))
    assert stores.lacks(APP)
    assert stores.directory_of([APP]) is None
    assert contents_of(stores, APP) == contents_of(open_sample(fake.url), APP)
    assert fake.names.count(f"{APP.hash_part}.narinfo") == 2
    assert not stores.lacks(LIBC)


def test_where_no_cache_has_what_was_promised(
    closure: Sample, fake: FakeCache, tmp_path: Path
) -> None:
    other = rebuilt(tmp_path / "other")
    (fake.directory / f"{APP.hash_part}.narinfo").unlink()
    stores = open_sample(fake.url, root=str(other.root)).promising(hashes_of(closure.closure))
    with pytest.raises(MissingPathsError) as caught:
        [*stores.entries(APP)]
    assert str(caught.value) == (
        f"no store to be trusted has {APP} (the local store has it, but its NAR hash is"
        f" {other.closure[APP].nar_hash}); asked were the local store, {fake.url}"
    )


def test_a_store_that_can_not_tell_keeps_its_paths(closure: Sample, tmp_path: Path) -> None:
    other = rebuilt(tmp_path / "other")
    (other.root / DATABASE).unlink()
    assert not LocalStore(str(other.root)).promising(hashes_of(closure.closure)).lacks(APP)
    (other.root / DATABASE).write_text("damaged")
    assert not LocalStore(str(other.root)).promising(hashes_of(closure.closure)).lacks(APP)


def test_thousands_of_paths_are_compared(root: Path, closure: Sample) -> None:
    sum_ = Hash("sha256", bytes(32))
    many = {StorePath(f"/nix/store/{i:032}-x"): sum_ for i in range(5000)}
    found = LocalDatabase(str(root)).changed({**many, LIBC: sum_})
    assert found == {LIBC: closure.closure[LIBC].nar_hash}
