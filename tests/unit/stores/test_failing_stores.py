"""What one store lacks, or sends damaged, is read from the next one."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nixdock.errors import CacheError, MissingPathsError
from nixdock.layers.compression import Compression
from nixdock.layers.pack import pack_all
from nixdock.layers.store import StoreLayer
from nixdock.nix.cache_files import NarInfo
from nixdock.nix.hashes import Hash
from nixdock.stores.several import Stores
from nixdock.stores.verified_nar import PromisedNar
from nixdock.system.read_ahead import ReadAhead, reading_in_turn
from tests.unit.registry.fake_registry import Fault

from .fake_cache import FakeCache, fake_cache
from .reaching import contents_of, open_sample
from .sample_cache import APP, LIBC, LINK, SCRIPT, Sample, hash_of

PATHS = (APP, LIBC, LINK, SCRIPT)
NOWHERE = "http://127.0.0.1:1"
MEGABYTE = 1 << 20


@pytest.fixture
def first(closure: Sample, tmp_path: Path) -> Iterator[FakeCache]:
    """A cache with NARs that are not compressed, so that damage is noticed by their hashes."""
    with fake_cache(closure.cache(tmp_path / "first", "none")) as cache:
        yield cache


@pytest.fixture
def expected(closure: Sample) -> object:
    return everything(open_sample([], root=str(closure.root)))


def everything(stores: Stores) -> object:
    return [contents_of(stores, path) for path in PATHS]


def both(first: FakeCache | str, second: FakeCache | str, **settings: object) -> Stores:
    urls = [each if isinstance(each, str) else each.url for each in (first, second)]
    return open_sample(urls, attempts=2, **settings)  # type: ignore[arg-type]


def narinfo(cache: FakeCache, path: str) -> Path:
    return cache.directory / f"{Path(path).name[:32]}.narinfo"


def nar(cache: FakeCache, path: str) -> Path:
    (file,) = (cache.directory / "nar").glob(f"{Path(path).name[:32]}*")
    return file


def damage(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def test_a_cache_that_is_not_there_is_left_out(
    closure: Sample, fake: FakeCache, expected: object, caplog: pytest.LogCaptureFixture
) -> None:
    for urls in ((NOWHERE, fake), (fake, NOWHERE)):
        caplog.clear()
        stores = both(*urls)
        assert stores.closure([APP]) == closure.closure
        assert everything(stores.promising({})) == expected
        (warning,) = warnings(caplog)
        assert warning.startswith(f"{NOWHERE}: nix-cache-info: 127.0.0.1:1 refuses connections: ")
        assert warning.endswith("; going on with the next store")


@pytest.mark.parametrize(
    "info", [b"<html>", b"StoreDir: /gnu/store\n", None], ids=["html", "other", "none"]
)
def test_what_is_no_cache_is_left_out(
    closure: Sample,
    first: FakeCache,
    fake: FakeCache,
    info: bytes | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = first.directory / "nix-cache-info"
    file.unlink()
    if info is not None:
        file.write_bytes(info)
    assert both(first, fake).closure([APP]) == closure.closure
    (warning,) = warnings(caplog)
    assert first.url in warning
    assert first.names == ["nix-cache-info"]


def test_a_cache_that_is_in_trouble_is_left_out(
    closure: Sample,
    first: FakeCache,
    fake: FakeCache,
    expected: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first.faults = [Fault(path="narinfo", status=503, times=99)]
    stores = both(first, fake)
    assert stores.closure([APP]) == closure.closure
    (warning,) = warnings(caplog)
    narinfo = f"{APP.hash_part}.narinfo"
    assert warning == (
        f"{first.url}: {APP}: {narinfo}: the cache answers 503; going on with the next store"
    )
    assert everything(stores) == expected
    assert first.names == ["nix-cache-info", narinfo, narinfo]


def test_a_cache_that_wants_a_password_is_named(
    closure: Sample, first: FakeCache, fake: FakeCache, caplog: pytest.LogCaptureFixture
) -> None:
    first.password = "Basic x"
    assert both(first, fake).closure([APP]) == closure.closure
    (warning,) = warnings(caplog)
    assert f"{first.url}: nix-cache-info: the cache answers 401; it wants a password" in warning


@pytest.mark.parametrize("data", [b"", b"<html>", b"X: y\n" * 300_000])
def test_a_narinfo_that_is_not_valid(
    closure: Sample,
    first: FakeCache,
    fake: FakeCache,
    expected: object,
    caplog: pytest.LogCaptureFixture,
    data: bytes,
) -> None:
    narinfo(first, LIBC).write_bytes(data)
    narinfo(first, SCRIPT).write_bytes(data)
    stores = both(first, fake)
    assert stores.closure([APP]) == closure.closure
    assert everything(stores) == expected
    (warning,) = warnings(caplog)
    assert warning.startswith(f"{first.url}: ")
    nars = [f"nar/{path.hash_part}.nar" for path in (APP, LINK)]
    assert [name for name in first.names if name.startswith("nar/")] == nars


def test_a_nar_that_is_missing(
    first: FakeCache, fake: FakeCache, expected: object, caplog: pytest.LogCaptureFixture
) -> None:
    nar(first, APP).unlink()
    nar(first, LIBC).unlink()
    assert everything(both(first, fake)) == expected
    (warning,) = warnings(caplog)
    assert warning == (
        f"{first.url}: {APP}: nar/{APP.hash_part}.nar: the cache answers 404, although it has a"
        " narinfo of the path; going on with the next store"
    )


@pytest.mark.parametrize("kept", [0, 100, MEGABYTE, 2 * MEGABYTE + 777, -8])
def test_a_nar_that_is_truncated(
    first: FakeCache,
    fake: FakeCache,
    expected: object,
    caplog: pytest.LogCaptureFixture,
    kept: int,
) -> None:
    """What was read of it is not read again, but compared."""
    file = nar(first, APP)
    file.write_bytes(file.read_bytes()[:kept])
    assert everything(both(first, fake)) == expected
    (warning,) = warnings(caplog)
    assert re.search(f"{APP}: its NAR has [0-9]+ bytes, not the [0-9]+ that were", warning)


def test_a_transfer_that_breaks_goes_on_at_the_next_store(
    first: FakeCache, fake: FakeCache, expected: object, caplog: pytest.LogCaptureFixture
) -> None:
    first.faults = [
        Fault(path=r"\.nar", cut=2 * MEGABYTE + 12345),
        Fault(path=r"\.nar", status=500, times=99),
    ]
    assert everything(both(first, fake)) == expected
    (warning,) = warnings(caplog)
    assert warning == (
        f"{first.url}: {APP}: nar/{APP.hash_part}.nar: the cache answers 500; going on with the"
        " next store"
    )


def test_damage_that_is_noticed_before_it_is_used(
    closure: Sample,
    first: FakeCache,
    fake: FakeCache,
    expected: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A small NAR is compared as a whole, and so is the end of a large one."""
    damage(nar(first, LIBC), 500)
    damage(nar(first, APP), len(closure.nars[APP]) - 500)
    assert everything(both(first, fake)) == expected
    (warning,) = warnings(caplog)
    assert "the hash of its NAR is sha256-" in warning


def test_damage_that_was_used_is_an_error_that_says_what_to_do(
    closure: Sample, first: FakeCache, fake: FakeCache
) -> None:
    damage(nar(first, APP), MEGABYTE - 1)
    with pytest.raises(CacheError) as caught:
        contents_of(both(first, fake), APP)
    message = str(caught.value)
    assert message.startswith(f"{first.url}: {APP}: the hash of its NAR is sha256-")
    assert message.endswith(
        f"; what came of it before is not what {fake.url} has, so leave the store {first.url} out"
    )
    assert (caught.value.place, caught.value.path) == (first.url, APP)
    damage(nar(first, APP), 0)
    with pytest.raises(CacheError) as caught:
        contents_of(both(first, fake), APP)
    assert str(caught.value) == (
        f"{first.url}: {APP}: what was sent is not a valid NAR: at byte 0, expected the start of a"
        " NAR; a part of it has been used, so another store helps only without this one"
    )


def test_a_second_copy_that_is_damaged_as_well_is_passed_over(
    closure: Sample, first: FakeCache, expected: object, tmp_path: Path
) -> None:
    """What the first one has passed on is right: it only broke off."""
    with (
        fake_cache(closure.cache(tmp_path / "second", "none")) as second,
        fake_cache(closure.cache(tmp_path / "third", "xz")) as third,
    ):
        file = nar(first, APP)
        file.write_bytes(file.read_bytes()[: 2 * MEGABYTE])
        damage(nar(second, APP), MEGABYTE // 2)
        stores = open_sample([each.url for each in (first, second, third)], attempts=2)
        assert everything(stores) == expected


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at once, as decompressors do."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(100, size))


def test_a_small_nar_is_a_single_piece(closure: Sample) -> None:
    info = closure.closure[LIBC]
    data = closure.nars[LIBC]
    found = NarInfo(info, "nar/x", "none")

    def failure(message: str) -> CacheError:
        return CacheError(message, place="here")

    promised = PromisedNar(Trickle(data), found, None, failure)
    assert promised.next_piece() == data
    wrong = PromisedNar(Trickle(data[:-1] + b"x"), found, None, failure)
    with pytest.raises(CacheError, match="as promised"):
        wrong.next_piece()


def test_only_a_large_nar_is_read_ahead(fake: FakeCache, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = 0

    class Counted(ReadAhead):
        def __init__(self, stream: io.RawIOBase) -> None:
            nonlocal begun
            begun += 1
            super().__init__(stream)

    monkeypatch.setattr("nixdock.system.read_ahead.ReadAhead", Counted)
    stores = open_sample(fake.url)
    assert list(stores.entries(LIBC))
    assert begun == 0
    assert list(stores.entries(APP))
    assert begun == 1
    with reading_in_turn():
        assert list(stores.entries(APP))
    assert begun == 1


def test_the_next_copy_must_be_of_the_same_nar(
    closure: Sample, first: FakeCache, fake: FakeCache, tmp_path: Path
) -> None:
    """Somebody else may have built the path, with another result."""
    file = nar(first, APP)
    whole = file.read_bytes()
    file.write_bytes(whole[: 2 * MEGABYTE])
    text = narinfo(fake, APP).read_text()
    nar_hash = closure.closure[APP].nar_hash
    assert nar_hash is not None
    other = Hash("sha256", bytes(32))
    narinfo(fake, APP).write_text(text.replace(nar_hash.base32, other.base32))
    with pytest.raises(CacheError, match="no store to be trusted has a good copy of") as caught:
        contents_of(both(first, fake, check=False), APP)
    assert f"{first.url}: {APP}: its NAR has {2 * MEGABYTE} bytes, not the" in str(caught.value)
    assert fake.requests(path=r"\.nar\.") == []


def test_layers_are_packed_in_all_processes(
    closure: Sample, first: FakeCache, fake: FakeCache
) -> None:
    file = nar(first, APP)
    file.write_bytes(file.read_bytes()[:-1000])

    def layers(store: Stores) -> list[StoreLayer]:
        hashes = {path: closure.closure[path].nar_hash for path in PATHS}
        return [StoreLayer((path,), store=store, nar_hashes=(hashes[path],)) for path in PATHS]

    expected = pack_all(layers(open_sample(fake.url)), None, Compression.NONE, 1)
    for cores in (1, 2):
        assert pack_all(layers(both(first, fake)), None, Compression.NONE, cores) == expected


def test_listings_are_read_where_they_can_be(
    closure: Sample, first: FakeCache, fake: FakeCache, caplog: pytest.LogCaptureFixture
) -> None:
    expected = [entry.name for entry in open_sample(fake.url).listing(LIBC)]
    first.faults = [Fault(path=r"\.ls", status=500, times=99)]
    assert [entry.name for entry in both(first, fake).listing(LIBC)] == expected
    nar(fake, LIBC).unlink()
    first.faults = [Fault(path=r"\.ls", status=404, times=99)]
    assert [entry.name for entry in both(fake, first).listing(LIBC)] == expected
    assert len(warnings(caplog)) == 2


def test_an_error_names_all_caches_and_what_is_wrong_with_them(
    first: FakeCache, fake: FakeCache
) -> None:
    narinfo(fake, LIBC).unlink()
    with pytest.raises(CacheError) as caught:
        both(NOWHERE, fake).closure([APP])
    assert str(caught.value) == (
        f"no store to be trusted has a good copy of {LIBC}; asked were the local store, {fake.url},"
        f" {NOWHERE}; {NOWHERE}: nix-cache-info: 127.0.0.1:1 refuses connections: check the host"
        " and port, and that it runs"
    )
    narinfo(first, LIBC).write_text("x")
    with pytest.raises(CacheError) as caught:
        both(NOWHERE, first).closure([APP])
    assert (caught.value.place, caught.value.path) == (first.url, LIBC)
    assert f"; {first.url}: what it sends for {LIBC} is not a valid narinfo" in str(caught.value)
    assert f"; {NOWHERE}: nix-cache-info: 127.0.0.1:1 refuses" in str(caught.value)
    with pytest.raises(CacheError, match=r"refuses connections.*refuses connections"):
        both(NOWHERE, "http://127.0.0.1:2").closure([APP])


def test_a_path_that_is_nowhere_is_missing_if_all_caches_answer(
    first: FakeCache, fake: FakeCache
) -> None:
    narinfo(first, LIBC).unlink()
    narinfo(fake, LIBC).unlink()
    with pytest.raises(
        MissingPathsError, match=f"asked were the local store, {first.url}, {fake.url}"
    ):
        both(first, fake).closure([APP])


def test_a_signature_that_is_not_valid_is_no_reason_to_take_a_copy(
    closure: Sample, first: FakeCache, fake: FakeCache, tmp_path: Path
) -> None:
    nar(first, LIBC).unlink()
    text = narinfo(fake, LIBC).read_text()
    narinfo(fake, LIBC).write_text(re.sub("Sig: .*", "", text))
    with pytest.raises(CacheError) as caught:
        contents_of(both(first, fake), LIBC)
    assert f"{LIBC} ({fake.url} has it, but it is not signed)" in str(caught.value)
    assert "the cache answers 404" in str(caught.value)
    nar_hash = closure.closure[LIBC].nar_hash
    assert nar_hash == hash_of(closure.nars[LIBC])
    assert contents_of(both(first, fake), LIBC, nar_hash), "the hash is known to be right"
