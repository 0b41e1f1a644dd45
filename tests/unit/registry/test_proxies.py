"""Proxies are used as the environment says."""

from __future__ import annotations

import pytest

from nixdock.errors import RegistryError
from nixdock.network.proxies import proxy_of
from nixdock.network.redirects import Origin
from nixdock.registry.request import Request, Scope

from .fake_registry import FakeRegistry, Fault
from .reaching import Login, reach

PROXIES = {"HTTPS_PROXY": "http://secure:1", "http_proxy": "plain:2"}


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://r.example", {}, None),
        ("https://r.example", PROXIES, "http://secure:1"),
        ("http://r.example", PROXIES, "http://plain:2"),
        ("https://r.example", {"ALL_PROXY": "http://all:3"}, "http://all:3"),
        ("https://r.example", PROXIES | {"https_proxy": "http://lower:4"}, "http://lower:4"),
        ("https://localhost:5000", PROXIES, None),
        ("https://127.0.0.1:5000", PROXIES, None),
        ("https://[::1]:5000", PROXIES, None),
        ("https://r.example", PROXIES | {"NO_PROXY": "*"}, None),
        ("https://r.example", PROXIES | {"NO_PROXY": "a.example, r.example"}, None),
        ("https://r.example", PROXIES | {"no_proxy": ".example"}, None),
        ("https://r.example", PROXIES | {"no_proxy": "*.example"}, None),
        ("https://R.EXAMPLE.", PROXIES | {"no_proxy": "Example"}, None),
        ("https://r.example", PROXIES | {"no_proxy": "ample"}, "http://secure:1"),
        ("https://r.example:5000", PROXIES | {"no_proxy": "r.example:5000"}, None),
        ("https://r.example", PROXIES | {"no_proxy": "r.example:5000"}, "http://secure:1"),
        ("https://10.1.2.3", PROXIES | {"no_proxy": "10.0.0.0/8"}, None),
        ("https://10.1.2.3", PROXIES | {"no_proxy": "11.0.0.0/8,x/y"}, "http://secure:1"),
        ("https://10.1.2.3", PROXIES | {"no_proxy": "10.1.2.3"}, None),
        ("https://[fd00::1]", PROXIES | {"no_proxy": "fd00:0::1"}, None),
        ("https://[fd00::1]:5000", PROXIES | {"no_proxy": "[fd00::1]:5000"}, None),
        ("https://[fd00::1]:5000", PROXIES | {"no_proxy": "[fd00::1]"}, None),
        ("https://[fd00::1]", PROXIES | {"no_proxy": "[fd00::1]:5000"}, "http://secure:1"),
        ("https://10.1.2.3:5000", PROXIES | {"no_proxy": "10.1.2.3:5000"}, None),
        ("https://10.1.2.3", PROXIES | {"no_proxy": "10.1.2.3:5000"}, "http://secure:1"),
        ("https://r.example", PROXIES | {"no_proxy": "r.example:"}, "http://secure:1"),
        ("https://r.example", PROXIES | {"https_proxy": ""}, None),
        ("https://r.example", PROXIES | {"no_proxy": "", "NO_PROXY": "*"}, "http://secure:1"),
        ("https://1.10.1.2.3.example", PROXIES | {"no_proxy": "10.1.2.3"}, "http://secure:1"),
    ],
)
def test_the_environment_names_proxies(
    url: str, environment: dict[str, str], proxy: str | None
) -> None:
    assert proxy_of(Origin.of(url), environment) == proxy


@pytest.fixture
def proxied(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """The fake registry, which serves as a proxy for plain HTTP, and for nothing else."""
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://proxy-user:proxy%2Dpassword@{fake.host}")
    return fake


def test_a_registry_is_reached_by_a_proxy(proxied: FakeRegistry) -> None:
    digest = proxied.add_blob("x", b"data")
    transport = reach("r.example", insecure=True)
    with transport.send(Request("GET", f"/v2/x/blobs/{digest}", Scope("x"))) as response:
        assert response.whole(100) == b"data"
    asked = proxied.log[-1]
    assert asked.path == f"http://r.example/v2/x/blobs/{digest}"
    assert asked.headers["Proxy-Authorization"] == "Basic cHJveHktdXNlcjpwcm94eS1wYXNzd29yZA=="


def test_a_proxy_that_refuses_is_named_without_its_password(proxied: FakeRegistry) -> None:
    with pytest.raises(RegistryError) as caught:
        reach("r.example", Login()).send(Request("GET", "/v2/"))
    message = str(caught.value)
    assert f"the proxy http://{proxied.host} can't be used" in message
    assert "password" not in message


@pytest.mark.parametrize(
    ("status", "user", "advice", "attempts"),
    [
        (407, "", "it wants a username and a password in its URL", 1),
        (407, "me:secret@", "it refuses the username and the password in its URL", 1),
        (403, "me:secret@", "it allows no connections to r.example:443", 1),
        (400, "", "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY", 1),
        *[(each, "", "try again later", 5) for each in (429, 502, 503, 504)],
    ],
)
def test_what_a_proxy_answers_is_said(
    fake: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    user: str,
    advice: str,
    attempts: int,
) -> None:
    """And what may pass is tried again, as with the registry itself."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{user}{fake.host}")
    fake.faults = [Fault("CONNECT", status=status, times=99)]
    with pytest.raises(RegistryError) as caught:
        reach("r.example").send(Request("GET", "/v2/"))
    assert str(caught.value) == (
        f"r.example: the proxy http://{fake.host} can't be used: it answers {status}; {advice}"
    )
    assert len(fake.log) == attempts


def test_a_kind_of_proxy_that_is_not_known_is_named(
    proxied: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:secret@proxy.example:1080")
    with pytest.raises(RegistryError, match=r"proxy socks5://proxy\.example:1080 can't be used"):
        reach("r.example").send(Request("GET", "/v2/"))


def test_an_invalid_proxy_is_named_without_its_password(
    proxied: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example:port")
    with pytest.raises(
        RegistryError, match=r"the proxy http.*can't be used; check HTTPS_PROXY"
    ) as caught:
        reach("r.example").send(Request("GET", "/v2/"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]/", "http://0.0.0.0/"],
)
def test_no_public_registry_leads_to_this_machine(proxied: FakeRegistry, target: str) -> None:
    for place in ("/a", target):
        proxied.faults = [Fault(path="/a$", status=307, headers={"Location": target})]
        with pytest.raises(RegistryError, match="an address for this machine or network alone"):
            reach("r.example", insecure=True).send(Request("GET", place))
