"""Stores with caches have what the local store has, or an error says why."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from nixdock.errors import CacheError, MissingPathsError, NixdockError
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.stores.cache_files import MOST_AT_ONCE
from nixdock.stores.several import Stores
from tests.unit.registry.fake_registry import Fault

from .fake_cache import FakeCache, fake_cache
from .reaching import contents_of, open_sample
from .sample_cache import (
    APP,
    COMPRESSORS,
    LIBC,
    LINK,
    SCRIPT,
    SECRET,
    Sample,
    encoded,
    hash_of,
    public_key,
    signature,
)

OTHER_SECRET = type(SECRET)(bytes(range(32)))
PATHS = (LIBC, SCRIPT, LINK, APP)
NIXOS = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="


def everything(stores: Stores) -> object:
    """Return the closure, and the entries of all its paths with their contents."""
    closure = stores.closure([APP])
    return closure, [contents_of(stores, path) for path in PATHS]


@pytest.fixture(scope="session")
def expected(closure: Sample) -> object:
    local = open_sample([], root=str(closure.root))
    return closure.closure, [contents_of(local, path) for path in PATHS]


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("served", [True, False])
def test_caches_have_what_the_store_has(
    closure: Sample, expected: object, tmp_path: Path, compression: str, served: bool
) -> None:
    directory = closure.cache(tmp_path / "cache dir", compression)
    if served:
        with fake_cache(directory) as cache:
            assert everything(open_sample(cache.url)) == expected
    else:
        url = f"file://{directory}".replace(" ", "%20")
        assert everything(open_sample(url)) == expected


def test_a_closure_needs_narinfos_alone_and_each_once(
    closure: Sample, fake: FakeCache, tmp_path: Path
) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path / "user")}
    for _ in range(2):
        stores = open_sample(fake.url, environment=environment)
        assert stores.closure([APP]) == stores.closure([APP, LIBC]) == closure.closure
    narinfos = [f"{path.hash_part}.narinfo" for path in PATHS]
    assert sorted(fake.names) == sorted(["nix-cache-info", *narinfos])
    contents_of(stores, APP)
    assert fake.names[5:] == [f"nar/{APP.hash_part}.nar.xz"]


def test_roots_have_their_own_closures(closure: Sample, fake: FakeCache) -> None:
    assert open_sample(fake.url).closure([LINK]) == closure.closure.reached_from([LINK])


def test_the_local_store_comes_first_if_the_path_is_valid(closure: Sample, fake: FakeCache) -> None:
    stores = open_sample(fake.url, root=str(closure.root))
    assert contents_of(stores, LIBC) == contents_of(open_sample(fake.url), LIBC)
    assert len(fake.requests(path=r"\.nar")) == 2


def test_caches_are_asked_by_priority(closure: Sample, tmp_path: Path) -> None:
    urls = [
        f"file://{closure.cache(tmp_path / str(n), priority=n)}{query}"
        for n, query in ((30, ""), (20, "?priority=40"), (10, ""))
    ]
    stores = open_sample(urls)
    assert [str(cache)[-2:] for cache in stores.caches] == ["10", "30", "20"]
    (tmp_path / f"10/{APP.hash_part}.narinfo").unlink()
    (tmp_path / f"30/{APP.hash_part}.narinfo").unlink()
    assert contents_of(stores, APP) == contents_of(open_sample(urls[1]), APP)


def test_a_cache_whose_signatures_nobody_trusts_is_passed_over(
    closure: Sample, tmp_path: Path
) -> None:
    unsigned = closure.cache(tmp_path / "unsigned", secret=None)
    signed = closure.cache(tmp_path / "signed")
    stores = open_sample([f"file://{unsigned}", f"file://{signed}"])
    assert stores.closure([APP]) == closure.closure
    assert contents_of(stores, APP) == contents_of(open_sample(f"file://{signed}"), APP)


def narinfo(fake: FakeCache, path: StorePath = LIBC) -> Path:
    return fake.directory / f"{path.hash_part}.narinfo"


def change(fake: FakeCache, old: str, new: str, path: StorePath = LIBC) -> None:
    text = narinfo(fake, path).read_text()
    assert old in text
    narinfo(fake, path).write_text(text.replace(old, new))


def failure(fake: FakeCache, **settings: object) -> NixdockError:
    with pytest.raises(NixdockError) as caught:
        everything(open_sample(fake.url, **settings))  # type: ignore[arg-type]
    return caught.value


def test_a_path_that_no_store_has(fake: FakeCache) -> None:
    narinfo(fake).unlink()
    error = failure(fake)
    assert isinstance(error, MissingPathsError)
    assert str(error) == (
        f"no store to be trusted has {LIBC}; asked were the local store, {fake.url}"
    )
    assert error.paths == (LIBC,)
    narinfo(fake, SCRIPT).unlink()
    error = failure(fake)
    assert str(error) == (
        f"no store to be trusted has 2 paths of the closure: {LIBC}, {SCRIPT}; asked were the local"
        f" store, {fake.url}"
    )


@pytest.mark.parametrize(
    ("keys", "sign", "reason"),
    [
        ([NIXOS], True, "it is signed by test-1, whose public key is not trusted"),
        ([public_key(OTHER_SECRET)], True, "its signature by test-1 is forged"),
        ([public_key()], False, "it is not signed"),
    ],
)
def test_paths_that_are_not_trusted(
    closure: Sample, tmp_path: Path, keys: list[str], sign: bool, reason: str
) -> None:
    directory = closure.cache(tmp_path / "cache", secret=SECRET if sign else None)
    with fake_cache(directory) as fake:
        error = failure(fake, keys=keys)
        assert isinstance(error, MissingPathsError)
        assert f"{APP} ({fake.url} has it, but {reason})" in str(error)
        assert error.paths == (APP,)
        assert open_sample(fake.url, keys=keys, check=False).closure([APP]) == closure.closure
        trusted = f"{fake.url}?trusted=1"
        assert open_sample(trusted, keys=keys).closure([APP]) == closure.closure


def test_where_nix_requires_no_signatures_none_is_needed_unless_keys_are_given(
    closure: Sample, tmp_path: Path
) -> None:
    url = f"file://{closure.cache(tmp_path / 'cache', secret=None)}"
    environment = {"NIX_CONFIG": "require-sigs = false"}
    assert open_sample(url, keys=(), environment=environment).closure([APP]) == closure.closure
    with pytest.raises(MissingPathsError, match="but it is not signed"):
        open_sample(url, environment=environment).closure([APP])


@pytest.mark.parametrize("changed", ["NarSize", "NarHash", "References", "Sig"])
def test_what_is_signed_cannot_be_changed(closure: Sample, fake: FakeCache, changed: str) -> None:
    info = closure.closure[APP]
    other = closure.closure[LIBC]
    assert info.nar_hash is not None
    assert other.nar_hash is not None
    old, new = {
        "NarSize": (f"NarSize: {info.nar_size}", f"NarSize: {info.nar_size + 8}"),
        "NarHash": (info.nar_hash.base32, other.nar_hash.base32),
        "References": (f" {LINK.base_name}", ""),
        "Sig": (signature(info), signature(other)),
    }[changed]
    change(fake, old, new, APP)
    assert f"{APP} ({fake.url} has it, but its signature by test-1 is forged)" in str(failure(fake))


def nar_file(fake: FakeCache, path: StorePath = LIBC) -> Path:
    return next((fake.directory / "nar").glob(f"{path.hash_part}.nar*"))


def test_nars_that_are_not_as_promised(closure: Sample, fake: FakeCache) -> None:
    compress = COMPRESSORS["xz"]
    nar = closure.nars[LIBC]
    for data, message in (
        (compress(nar.replace(b"\x05\x06\x07", b"\x05\x06\x08")), "the hash of its NAR is sha256-"),
        (compress(nar + b"\0"), f"its NAR has more than the {len(nar)} bytes that were promised"),
        (compress(bytes(50_000_000)), f"its NAR has more than the {len(nar)} bytes"),
        (compress(nar[:-16]), f"its NAR has {len(nar) - 16} bytes, not the {len(nar)} that were"),
        (compress(nar[:-16] + bytes(16)), "the hash of its NAR is sha256-"),
        (compress(nar)[:-20], "the xz data is truncated: it ends after"),
        (compress(nar)[:-1] + b"x", "the xz data is damaged: "),
        (compress(nar) + b"x", "the xz data is "),
        (nar, "the xz data is damaged: "),
        (b"", "the xz data is truncated: it ends after 0 bytes"),
    ):
        nar_file(fake).write_bytes(data)
        error = failure(fake)
        assert isinstance(error, CacheError)
        assert str(error).startswith(f"{fake.url}: {LIBC}: {message}"), str(error)
        assert (error.place, error.path) == (fake.url, LIBC)


def test_a_nar_that_is_promised_but_not_valid(
    closure: Sample, fake: FakeCache, tmp_path: Path
) -> None:
    nar = closure.nars[SCRIPT][:-16] + bytes(16)
    bad = dataclasses.replace(closure, nars={**closure.nars, SCRIPT: nar})
    infos = {**closure.closure.infos}
    infos[SCRIPT] = replace(infos[SCRIPT], nar_hash=hash_of(nar))
    bad = dataclasses.replace(bad, closure=type(closure.closure)(infos))
    with fake_cache(bad.cache(tmp_path / "bad")) as other:
        assert str(failure(other)) == (
            f"{other.url}: {SCRIPT}: what was sent is not a valid NAR: at byte {len(nar) - 16},"
            " expected the end of the root"
        )


def test_another_hash_than_that_of_the_layer_is_refused(closure: Sample, fake: FakeCache) -> None:
    stores = open_sample(fake.url)
    other = Hash("sha256", bytes(32))
    with pytest.raises(MissingPathsError) as caught:
        contents_of(stores, LIBC, other)
    hash_ = closure.closure[LIBC].nar_hash
    assert f"{fake.url} has it, but its NAR hash is {hash_}, not {other}" in str(caught.value)
    assert fake.requests(path=r"\.nar\.") == []


def test_a_narinfo_of_another_path(fake: FakeCache) -> None:
    narinfo(fake).write_bytes(narinfo(fake, SCRIPT).read_bytes())
    assert str(failure(fake)) == (
        f"{fake.url}: what it sends for {LIBC} is not a valid narinfo: it is that of {SCRIPT}, not"
        f" of {LIBC}"
    )


def test_an_endless_narinfo(fake: FakeCache) -> None:
    narinfo(fake).write_bytes(b"X: y\n" * 1_000_000)
    assert str(failure(fake)) == (
        f"{fake.url}: {LIBC}: {LIBC.hash_part}.narinfo: the cache's answer has more than 1048576"
        " bytes"
    )


def test_a_nar_that_is_missing(fake: FakeCache) -> None:
    nar_file(fake).unlink()
    assert str(failure(fake)) == (
        f"{fake.url}: {LIBC}: nar/{LIBC.hash_part}.nar.xz: the cache answers 404, although it has a"
        " narinfo of the path"
    )


@pytest.mark.parametrize("name", ["nix-cache-info", f"{LIBC.hash_part}.narinfo", "nar"])
def test_files_that_are_not_regular(closure: Sample, tmp_path: Path, name: str) -> None:
    """Nobody waits for what comes from a FIFO."""
    directory = closure.cache(tmp_path / "cache")
    file = directory / (f"nar/{LIBC.hash_part}.nar.xz" if name == "nar" else name)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(CacheError, match=f"can't read {file}: it is not a regular file"):
        everything(open_sample(f"file://{directory}"))


def test_a_compression_that_is_not_known(fake: FakeCache) -> None:
    change(fake, "Compression: xz", "Compression: lzip")
    assert str(failure(fake)) == (
        f"{fake.url}: {LIBC}: its NAR is compressed with lzip, which nixdock does not know"
    )


def test_what_is_no_cache_or_for_another_store(fake: FakeCache) -> None:
    info = fake.directory / "nix-cache-info"
    info.write_text("StoreDir: /gnu/store\n")
    assert str(failure(fake)) == f"{fake.url}: it is for the store /gnu/store, not /nix/store"
    info.write_text("<html>")
    assert str(failure(fake)) == (
        f"what {fake.url} sends is not a valid nix-cache-info: line 1 is '<html>', not NAME: VALUE"
    )
    info.unlink()
    error = failure(fake)
    assert isinstance(error, CacheError)
    assert str(error) == f"{fake.url}: it is not a binary cache: it has no nix-cache-info"


def test_redirects_end_and_lead_nowhere_unsafe(fake: FakeCache) -> None:
    loop = Fault(path=r"\.nar", status=302, headers={"Location": "/x.nar"}, times=99)
    fake.faults = [loop]
    assert str(failure(fake)).endswith(
        "the cache's word is not followed: there are more than 10 redirects"
    )
    fake.faults = [
        dataclasses.replace(loop, headers={"Location": "http://169.254.169.254/x"}, times=99)
    ]
    assert "an address for this machine or network alone" in str(failure(fake))


def test_a_nar_that_is_elsewhere(closure: Sample, fake: FakeCache, tmp_path: Path) -> None:
    with fake_cache(tmp_path / "cache") as other:
        change(fake, "URL: nar/", f"URL: {other.url}/nar/")
        assert contents_of(open_sample(fake.url), LIBC)
        assert other.names == [f"nar/{LIBC.hash_part}.nar.xz"]


def test_a_transfer_that_breaks_goes_on_where_it_stopped(
    expected: object, closure: Sample, tmp_path: Path
) -> None:
    with fake_cache(closure.cache(tmp_path / "plain", "none")) as fake:
        for ignores_range in (False, True):
            fake.ignores_range = ignores_range
            fake.faults = [Fault(path=r"\.nar$", cut=1000, times=3)]
            assert everything(open_sample(fake.url)) == expected
        ranges = [each.headers.get("Range") for each in fake.requests(path=f"{APP.hash_part}.nar$")]
        assert None in ranges
        fake.faults = [Fault(path=r"\.nar$", cut=0, times=99)]
        assert "broke" in str(failure(fake, attempts=3))


def test_a_cache_that_fails_for_a_moment_is_asked_again(fake: FakeCache, expected: object) -> None:
    fake.faults = [Fault(status=503, times=4)]
    assert everything(open_sample(fake.url)) == expected
    fake.faults = [Fault(path="narinfo", status=500, times=99)]
    error = failure(fake, attempts=2)
    assert isinstance(error, CacheError)
    assert error.status == 500
    assert str(error) == (f"{fake.url}: {APP}: {APP.hash_part}.narinfo: the cache answers 500")


def test_a_narinfo_that_breaks_off_is_asked_for_again(fake: FakeCache, expected: object) -> None:
    fake.faults = [Fault(path="narinfo", cut=100, times=3)]
    assert everything(open_sample(fake.url)) == expected


@pytest.mark.parametrize("encoding", ["br", "gzip", "xz", "zstd"])
def test_files_may_be_encoded_on_their_way(
    fake: FakeCache, expected: object, encoding: str
) -> None:
    """Caches in object stores have narinfos and listings that nobody decodes on their way."""
    fake.encoding, fake.encode = encoding, COMPRESSORS[encoding]
    assert everything(open_sample(fake.url)) == expected
    fake.encode = lambda data: COMPRESSORS[encoding](data)[:-3]
    assert f"nix-cache-info: the {encoding} data is truncated" in str(failure(fake))


def test_an_encoding_that_is_not_known(fake: FakeCache) -> None:
    fake.encoding = "compress"
    assert str(failure(fake)) == (
        f"{fake.url}: nix-cache-info: it has the Content-Encoding compress, which nixdock does not"
        " know"
    )


def test_a_silent_cache(fake: FakeCache) -> None:
    fake.faults = [Fault(path=r"\.nar", cut=10, stall=True, times=99)]
    host = fake.host
    assert f"{host} was silent for 0.2 seconds" in str(failure(fake, timeout=0.2, attempts=1))


def test_passwords_come_from_netrc_and_go_to_the_cache_alone(
    fake: FakeCache, expected: object, tmp_path: Path
) -> None:
    fake.password = "Basic " + encoded(b"me:secret word")
    netrc = tmp_path / "netrc"
    environment = {"NIX_CONFIG": f"netrc-file = {netrc}"}
    assert str(failure(fake, environment=environment)) == (
        f"{fake.url}: nix-cache-info: the cache answers 401; it wants a password: put one into"
        f" {netrc}"
    )
    netrc.write_text('machine 127.0.0.1 login me password "wrong"\n')
    assert f"401; it refuses the password in {netrc}" in str(failure(fake, environment=environment))
    netrc.write_text('machine 127.0.0.1\nlogin me\npassword "secret word"\n')
    assert everything(open_sample(fake.url, environment=environment)) == expected
    netrc.write_text("machine 127.0.0.1 passwort secret\n")
    error = failure(fake, environment=environment)
    assert str(error) == f"{netrc} is not a valid netrc file in line 1"


def test_a_closure_is_asked_for_by_breadth(tmp_path: Path, closure: Sample) -> None:
    """As many requests are under way as there are connections, and connections are kept."""
    from nixdock.nix.closure import PathInfo

    from .sample_cache import narinfo_lines

    directory = closure.cache(tmp_path / "wide")
    nar_hash = Hash("sha256", bytes(32))
    wide = [StorePath.parse(f"/nix/store/{i:0>32}-{i}".replace("e", "x")) for i in range(1, 201)]
    for i, path in enumerate(wide):
        references = tuple(wide[10 * i + 1 : 10 * i + 11])
        info = PathInfo(path, 8, nar_hash, references)
        lines = [*narinfo_lines(info, "nar/x", "none", b""), f"Sig: {signature(info)}"]
        (directory / f"{path.hash_part}.narinfo").write_text("".join(f"{x}\n" for x in lines))
    with fake_cache(directory) as fake:
        fake.delay = 0.002
        assert len(open_sample(fake.url).closure(wide[:1])) == 200
        assert len(fake.log) == 201
        assert len({each.connection for each in fake.log}) <= MOST_AT_ONCE + 1
