"""Caches are reached with HTTPS, by proxies and with passwords, as registries are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from nixdock.errors import CacheError
from nixdock.layers.compression import Compression
from nixdock.layers.pack import pack_all
from nixdock.layers.store import StoreLayer
from nixdock.stores.local import LocalStore
from nixdock.stores.store import Store
from tests.unit.network.clock import Clock
from tests.unit.registry.authorities import server_context, write_root
from tests.unit.registry.fake_registry import Fault

from .fake_cache import FakeCache, fake_cache
from .reaching import contents_of, open_sample
from .sample_cache import APP, LIBC, Sample, encoded

PASSWORD = "Basic " + encoded(b"me:secret")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing says what to trust, and there is no proxy."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def secure(closure: Sample, tmp_path: Path, authority: trustme.CA) -> Iterator[FakeCache]:
    """A cache with a certificate of an authority that nobody trusts."""
    with fake_cache(closure.cache(tmp_path / "cache"), tls=server_context(authority)) as cache:
        yield cache


@pytest.fixture
def netrc(tmp_path: Path) -> dict[str, str]:
    """An environment with a password for this machine and for a host elsewhere."""
    file = tmp_path / "netrc"
    hosts = ("127.0.0.1", "cache.example")
    file.write_text("".join(f"machine {host} login me password secret\n" for host in hosts))
    return {"NIX_CONFIG": f"netrc-file = {file}"}


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "NIX_SSL_CERT_FILE"])
@pytest.mark.parametrize("cores", [1, 2])
def test_layers_are_packed_over_https(
    closure: Sample,
    secure: FakeCache,
    authority: trustme.CA,
    netrc: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    cores: int,
) -> None:
    monkeypatch.setenv(name, str(write_root(authority, tmp_path / "root.pem")))
    secure.password = PASSWORD
    stores = open_sample(secure.url, environment=netrc)
    found = stores.closure([APP])
    assert found == closure.closure

    def layers(store: Store) -> list[StoreLayer]:
        return [StoreLayer((path,), store=store) for path in (APP, LIBC)]

    expected = pack_all(layers(LocalStore(str(closure.root))), None, Compression.NONE, 1)
    assert pack_all(layers(stores), None, Compression.NONE, cores) == expected


def test_a_certificate_that_is_not_trusted_is_refused(closure: Sample, secure: FakeCache) -> None:
    with pytest.raises(CacheError) as caught:
        open_sample(secure.url).closure([APP])
    message = str(caught.value)
    assert message.startswith(f"{secure.url}: nix-cache-info: the certificate of {secure.host} is")
    assert "SSL_CERT_FILE" in message
    assert secure.log == []
    assert open_sample(secure.url, insecure=True).closure([APP]) == closure.closure


def test_https_does_not_lead_to_plain_http(secure: FakeCache) -> None:
    target = f"http://{secure.host}/x"
    secure.faults = [Fault(path=r"\.nar\.", status=302, headers={"Location": target}, times=99)]
    with pytest.raises(CacheError, match="it leads from HTTPS to plain HTTP, at 127"):
        contents_of(open_sample(secure.url, insecure=True), LIBC)


def test_plain_http_needs_no_certificates(
    closure: Sample, fake: FakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/none")
    assert open_sample(fake.url).closure([APP]) == closure.closure


def test_no_password_goes_along_to_where_a_nar_is(
    closure: Sample, fake: FakeCache, netrc: dict[str, str], tmp_path: Path
) -> None:
    """Neither with a redirect, nor to another port of the same machine."""
    fake.password = PASSWORD
    with fake_cache(closure.cache(tmp_path / "elsewhere")) as other:
        target = f"{other.url}/nar/{LIBC.hash_part}.nar.xz"
        fake.faults = [Fault(path=r"\.nar\.", status=307, headers={"Location": target})]
        contents_of(open_sample(fake.url, environment=netrc), LIBC)
        (received,) = other.requests(path=r"\.nar\.")
    assert "Authorization" not in received.headers
    assert all(each.headers["Authorization"] == PASSWORD for each in fake.log)


def test_errors_of_where_a_cache_leads_are_not_the_caches(
    closure: Sample, fake: FakeCache, netrc: dict[str, str], tmp_path: Path
) -> None:
    """No password for the cache goes there, so that none helps."""
    fake.password = PASSWORD
    with fake_cache(closure.cache(tmp_path / "elsewhere")) as other:
        other.password = "another"
        target = f"{other.url}/nar/{LIBC.hash_part}.nar.xz"
        fake.faults = [Fault(path=r"\.nar\.", status=307, headers={"Location": target})]
        with pytest.raises(CacheError) as caught:
            contents_of(open_sample(fake.url, environment=netrc), LIBC)
    assert str(caught.value).endswith(f": {other.host}, to which the cache leads, answers 401")


def test_a_cache_is_reached_by_a_proxy(
    closure: Sample,
    fake: FakeCache,
    netrc: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The proxy's own password is sent to it, and that for the cache is not sent in the clear."""
    monkeypatch.setenv("HTTP_PROXY", f"http://proxy-user:secret@{fake.host}")
    stores = open_sample("http://cache.example", environment=netrc)
    with caplog.at_level(logging.WARNING):
        assert stores.closure([APP]) == closure.closure
    assert {each.path.partition("/nix-")[0] for each in fake.log[:1]} == {"http://cache.example"}
    sent = "Basic " + encoded(b"proxy-user:secret")
    assert all(each.headers["Proxy-Authorization"] == sent for each in fake.log)
    assert not any("Authorization" in each.headers for each in fake.log)
    assert "the password for cache.example in" in caplog.text
    assert "secret" not in caplog.text


def test_a_proxy_that_refuses_is_named_without_its_password(
    fake: FakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://proxy-user:secret@{fake.host}")
    with pytest.raises(CacheError) as caught:
        open_sample("https://cache.example").closure([APP])
    assert f"the proxy http://{fake.host} can't be used" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_cache_that_is_not_there(fake: FakeCache, closure: Sample) -> None:
    with fake_cache(fake.directory) as other:
        url = other.url
    with pytest.raises(CacheError, match=f"{url}: nix-cache-info: 127.* refuses connections"):
        open_sample(url, attempts=2).closure([APP])


def test_a_cache_says_how_long_to_wait(closure: Sample, fake: FakeCache) -> None:
    clock = Clock()
    headers = {"Retry-After": "7"}
    fake.faults = [Fault(path="narinfo", status=429, headers=headers, times=1)]
    stores = open_sample(fake.url, pace=clock.pace())
    assert stores.closure([APP]) == closure.closure
    assert clock.slept == [7.0]


def test_a_cache_is_near_if_it_has_answered_soon(
    closure: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How soon is only compared with what can't be wrong, because machines may be slow."""
    with fake_cache(closure.cache(tmp_path / "cache")) as fake:
        near = open_sample(fake.url)
        assert near.waits_for(APP)
        near.closure([APP])
        with monkeypatch.context() as patched:
            patched.setattr("nixdock.stores.http_files._NEAR", 60.0)
            assert not near.waits_for(APP)
        fake.delay = 0.01
        far = open_sample(fake.url)
        far.closure([APP])
        assert far.waits_for(APP)


def test_nobody_waits_for_a_directory_or_the_local_store(closure: Sample, tmp_path: Path) -> None:
    directory = closure.cache(tmp_path / "cache")
    with fake_cache(directory) as fake:
        assert not open_sample(f"file://{directory}").waits_for(APP)
        assert open_sample([f"file://{directory}", fake.url]).waits_for(APP)
        assert not open_sample(fake.url, root=str(closure.root)).waits_for(APP)
    assert not LocalStore(str(closure.root)).waits_for(APP)


def test_names_of_hosts_in_netrc_may_be_in_upper_case(
    closure: Sample, fake: FakeCache, tmp_path: Path
) -> None:
    fake.password = "Basic " + encoded(b"me:secret")
    file = tmp_path / "netrc-of-hosts"
    environment = {"NIX_CONFIG": f"netrc-file = {file}"}
    url = fake.url.replace("127.0.0.1", "localhost")
    file.write_text("default login other password x\nmachine LocalHost login me password secret\n")
    assert open_sample(url, environment=environment).closure([APP]) == closure.closure
