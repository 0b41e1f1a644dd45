"""What a cache has answered is remembered only as long as it helps."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from pathlib import Path

import pytest

from nixdock.errors import CacheError, MissingPathsError
from nixdock.stores.several import Stores
from tests.unit.registry.fake_registry import Fault

from .fake_cache import FakeCache
from .reaching import contents_of, open_sample
from .sample_cache import APP, LIBC, SCRIPT, Sample

INFO = "nix-cache-info"


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """The directory in which answers are remembered, for all stores of `opened`."""
    return tmp_path / "user"


def opened(fake: FakeCache, user: Path) -> Stores:
    return open_sample(fake.url, environment={"XDG_CACHE_HOME": str(user)})


def narinfo(path: str) -> str:
    return f"{Path(path).name[:32]}.narinfo"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (INFO, b"<html>Log in to the network</html>"),
        (INFO, b"X: \xff"),
        (narinfo(LIBC), b"<html>Log in to the network</html>"),
        (narinfo(LIBC), b""),
    ],
)
def test_what_is_not_valid_is_not_remembered(
    closure: Sample, fake: FakeCache, user: Path, name: str, body: bytes
) -> None:
    fake.faults = [Fault(path=name, status=200, body=body, times=1)]
    with pytest.raises(CacheError, match="is not a valid n"):
        opened(fake, user).closure([APP])
    assert opened(fake, user).closure([APP]) == closure.closure


def test_a_cache_for_another_store_is_not_remembered(
    closure: Sample, fake: FakeCache, user: Path
) -> None:
    fake.faults = [Fault(path=INFO, status=200, body=b"StoreDir: /gnu/store\n", times=1)]
    with pytest.raises(CacheError, match="it is for the store /gnu/store"):
        opened(fake, user).closure([APP])
    fake.faults = [Fault(path=INFO, status=404, times=1)]
    with pytest.raises(CacheError, match="it is not a binary cache"):
        opened(fake, user).closure([APP])
    assert opened(fake, user).closure([APP]) == closure.closure


@pytest.mark.parametrize("name", [INFO, narinfo(LIBC)])
@pytest.mark.parametrize("data", [b"no field", b"X: \xff", "text", 7])
def test_the_cache_is_asked_again_if_a_remembered_answer_is_damaged(
    closure: Sample, fake: FakeCache, user: Path, name: str, data: bytes | str | int
) -> None:
    opened(fake, user).closure([APP])
    change(user, name, data)
    fake.log.clear()
    assert opened(fake, user).closure([APP]) == closure.closure
    assert fake.names == [name]


def test_the_cache_is_asked_again_if_a_remembered_answer_is_of_another_path(
    closure: Sample, fake: FakeCache, user: Path
) -> None:
    opened(fake, user).closure([APP])
    change(user, narinfo(LIBC), (fake.directory / narinfo(SCRIPT)).read_bytes())
    fake.log.clear()
    for _ in range(2):
        assert opened(fake, user).closure([APP]) == closure.closure
    assert fake.names == [narinfo(LIBC)]


def change(user: Path, name: str, data: bytes | str | int) -> None:
    """Let the database have other data."""
    (file,) = user.rglob("*.sqlite")
    with sqlite3.connect(file) as connection:
        connection.execute("update Answers set data = ? where name = ?", (data, name))
    connection.close()


def test_an_empty_narinfo_is_not_valid(fake: FakeCache, user: Path) -> None:
    (fake.directory / narinfo(LIBC)).write_bytes(b"")
    with pytest.raises(CacheError) as caught:
        opened(fake, user).closure([APP])
    assert str(caught.value) == (
        f"{fake.url}: what it sends for {LIBC} is not a valid narinfo: it has no StorePath"
    )


def made_anew(closure: Sample, fake: FakeCache, **changes: object) -> None:
    shutil.rmtree(fake.directory)
    closure.cache(fake.directory, **changes)  # type: ignore[arg-type]
    fake.log.clear()


def test_a_nar_that_has_gone_is_looked_for_again(
    closure: Sample, fake: FakeCache, user: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cache that is made anew with another compression has all NARs elsewhere."""
    expected = contents_of(open_sample([], root=str(closure.root)), LIBC)
    opened(fake, user).closure([APP])
    made_anew(closure, fake, compression="zstd")
    with caplog.at_level(logging.INFO):
        assert contents_of(opened(fake, user), LIBC) == expected
    assert caplog.messages == [], "nothing is wrong with the cache"
    nar = f"nar/{LIBC.hash_part}.nar"
    assert fake.names == [f"{nar}.xz", narinfo(LIBC), f"{nar}.zstd"]
    fake.log.clear()
    assert contents_of(opened(fake, user), LIBC) == expected
    assert fake.names == [f"{nar}.zstd"]


def test_a_nar_that_has_gone_for_good_is_an_error(
    closure: Sample, fake: FakeCache, user: Path
) -> None:
    opened(fake, user).closure([APP])
    shutil.rmtree(fake.directory / "nar")
    nar = f"nar/{LIBC.hash_part}.nar.xz"
    fake.log.clear()
    with pytest.raises(
        CacheError, match=f"{nar}: the cache answers 404, although it has a narinfo"
    ):
        contents_of(opened(fake, user), LIBC)
    assert fake.names == [nar, narinfo(LIBC)]
    (fake.directory / narinfo(APP)).unlink()
    with pytest.raises(
        MissingPathsError, match=f"has {APP}; asked were the local store, {fake.url}$"
    ):
        contents_of(opened(fake, user), APP)


def test_a_path_that_has_been_signed_meanwhile(
    closure: Sample, fake: FakeCache, user: Path
) -> None:
    made_anew(closure, fake, secret=None)
    with pytest.raises(MissingPathsError, match="but it is not signed"):
        opened(fake, user).closure([APP])
    made_anew(closure, fake)
    assert opened(fake, user).closure([APP]) == closure.closure
    assert fake.names.count(narinfo(APP)) == 1


def test_an_unsigned_path_of_another_store_is_not_asked_for_again(
    closure: Sample, fake: FakeCache, user: Path, tmp_path: Path
) -> None:
    made_anew(closure, fake, secret=None)
    urls = [fake.url, f"file://{closure.cache(tmp_path / 'signed')}"]
    for _ in range(2):
        stores = open_sample(urls, environment={"XDG_CACHE_HOME": str(user)})
        assert stores.closure([APP]) == closure.closure
    assert fake.names.count(narinfo(APP)) == 1


def test_an_error_says_which_caches_were_not_asked_now(
    closure: Sample, fake: FakeCache, user: Path, tmp_path: Path
) -> None:
    directory = closure.cache(tmp_path / "other")
    for each in (directory, fake.directory):
        (each / narinfo(LIBC)).unlink()

    def error() -> str:
        urls = [fake.url, f"file://{directory}"]
        with pytest.raises(MissingPathsError) as caught:
            open_sample(urls, environment={"XDG_CACHE_HOME": str(user)}).closure([APP])
        return str(caught.value)

    asked = f"no store to be trusted has {LIBC}; asked were the local store, {fake.url}"
    assert error() == f"{asked}, file://{directory}"
    (database,) = user.rglob("*.sqlite")
    fake.log.clear()
    assert error() == (
        f"{asked} (within the last hour; remove {database} to ask again), file://{directory}"
    )
    assert fake.names == []
