"""Requests get through to a real registry, however it wants to be approached."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from nixdock.errors import RegistryError
from nixdock.network.body import Body
from nixdock.registry.access import Access
from nixdock.registry.credentials import Credentials
from nixdock.registry.request import Request, Scope
from nixdock.registry.transport import Transport

from .registry import PASSWORD, USERNAME, Registry, local_registry
from .token_server import TokenServer, token_server

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("registry")]

LOGIN = Credentials(USERNAME, PASSWORD)
WRONG = Credentials(USERNAME, "wrong-password")


def reach(
    registry: Registry, credentials: Credentials | None = LOGIN, *, insecure: bool = False
) -> Transport:
    access = Access(
        insecure=insecure, credentials=credentials, find=lambda _host, _repository: None
    )
    return Transport(registry.address, access)


def exchange(transport: Transport, data: bytes = bytes(range(256)) * 10_000) -> None:
    """Upload a blob and read it back."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    scope = Scope("some/image", push=True)
    begin = Request("POST", "/v2/some/image/blobs/uploads/", scope, expected=(202,))
    with transport.send(begin) as response:
        location = response.headers["Location"]
    target = f"{location}{'&' if '?' in location else '?'}digest={digest}"
    headers = {"Content-Type": "application/octet-stream"}
    put = Request("PUT", target, scope, headers, Body.of(data), (201,), "the blob", retry=False)
    transport.send(put).close()
    assert pull(transport, digest) == data


def pull(transport: Transport, digest: str) -> bytes:
    get = Request("GET", f"/v2/some/image/blobs/{digest}", Scope("some/image"), subject="the blob")
    with transport.send(get) as response:
        return response.whole(1 << 24)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine says what to trust."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with token_server(tmp_path_factory.mktemp("tokens"), USERNAME, PASSWORD) as server:
        yield server


def test_an_open_registry(registry: Registry) -> None:
    exchange(reach(registry, None))


def test_a_registry_with_passwords() -> None:
    with local_registry(passwords=True) as registry:
        exchange(reach(registry))
        reach(registry).check_login(LOGIN)
        for credentials, advice in ((WRONG, "it refuses"), (None, "it wants credentials")):
            with pytest.raises(RegistryError, match=advice) as caught:
                exchange(reach(registry, credentials))
            assert (caught.value.status, caught.value.code) == (401, "UNAUTHORIZED")
        with pytest.raises(RegistryError, match="it refuses the credentials"):
            reach(registry).check_login(WRONG)


def test_a_registry_with_tokens(tokens: TokenServer) -> None:
    with local_registry(tokens=tokens) as registry:
        exchange(reach(registry))
        assert tokens.scopes[-2:] == [
            ["repository:some/image:pull,push"],
            ["repository:some/image:pull"],
        ]
        data = bytes(range(256)) * 10_000
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert pull(reach(registry, None), digest) == data
        with pytest.raises(RegistryError, match="it wants credentials") as caught:
            exchange(reach(registry, None))
        assert caught.value.status == 401
        reach(registry).check_login(LOGIN)
        with pytest.raises(RegistryError, match="it refuses the credentials"):
            reach(registry).check_login(WRONG)


def test_a_blob_is_mounted_with_a_token_for_both_repositories(tokens: TokenServer) -> None:
    with local_registry(tokens=tokens) as registry:
        transport = reach(registry)
        exchange(transport, b"data")
        digest = f"sha256:{hashlib.sha256(b'data').hexdigest()}"
        mount = Request(
            "POST",
            f"/v2/other/blobs/uploads/?mount={digest}&from=some/image",
            Scope("other", push=True, mount_from="some/image"),
            expected=(201,),
        )
        transport.send(mount).close()
        assert tokens.scopes[-1] == [
            "repository:other:pull,push",
            "repository:some/image:pull",
        ]


def test_a_registry_with_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    with local_registry(authority=authority, passwords=True) as registry:
        with pytest.raises(RegistryError, match="is not trusted"):
            exchange(reach(registry))
        exchange(reach(registry, insecure=True))
        directory = tmp_path / ".config/containers/certs.d" / registry.address
        directory.mkdir(parents=True)
        authority.cert_pem.write_to_path(directory / "ca.crt")
        exchange(reach(registry))
        (directory / "ca.crt").rename(tmp_path / "root.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
        exchange(reach(registry))
