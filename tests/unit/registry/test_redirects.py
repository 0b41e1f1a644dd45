"""Redirects and locations are followed, but not to everywhere, and without credentials."""

from __future__ import annotations

import io
import re

import pytest

from nixdock.errors import RegistryError
from nixdock.network import redirects
from nixdock.network.addresses import address_of, is_local_name, refused_address
from nixdock.network.body import Body
from nixdock.network.following import Outgoing
from nixdock.network.redirects import Origin, UnsafeTargetError, next_target, shown_url
from nixdock.registry.failures import Subject
from nixdock.registry.request import Request, Scope

from .fake_registry import FakeRegistry, Fault, digest_of
from .reaching import Login, reach

METADATA = "http://169.254.169.254/latest/meta-data"


@pytest.fixture
def guarded(fake: FakeRegistry) -> FakeRegistry:
    """A registry that wants tokens, so that requests have an Authorization header."""
    fake.accounts.kind = "token"
    fake.accounts.passwords = {"alice": "secret-password"}
    return fake


def get(fake: FakeRegistry, target: str, body: Body | None = None, method: str = "GET") -> bytes:
    request = Request(method, target, Scope("x"), body=body, subject="the blob")
    with reach(fake, Login()).send(request) as response:
        return response.whole(1 << 24)


@pytest.mark.parametrize("location", ["relative", "absolute", "query", "storage"])
@pytest.mark.parametrize("redirected", [False, True])
def test_uploads_go_where_the_registry_says(
    guarded: FakeRegistry, location: str, redirected: bool
) -> None:
    guarded.location = location  # type: ignore[assignment]
    guarded.redirect_uploads = redirected
    data = bytes(range(256)) * 5000
    opened = []

    def open_body() -> io.RawIOBase | io.BufferedIOBase:
        opened.append(1)
        return Body.of(data).open()

    transport, scope = reach(guarded, Login()), Scope("x", push=True)
    with transport.send(
        Request("POST", "/v2/x/blobs/uploads/", scope, expected=(202,))
    ) as response:
        target = response.headers["Location"]
    target += f"{'&' if '?' in target else '?'}digest={digest_of(data)}"
    body = Body(len(data), open_body)
    transport.send(Request("PUT", target, scope, body=body, expected=(201,))).close()
    assert guarded.blobs["x"] == {digest_of(data): data}
    elsewhere = location == "storage" or redirected
    assert guarded.log[-1].server == ("storage" if elsewhere else "registry")
    assert ("Authorization" in guarded.log[-1].headers) == (not elsewhere)
    assert len(opened) == (2 if redirected and location != "storage" else 1)


def test_blobs_come_from_where_the_registry_says(guarded: FakeRegistry) -> None:
    digest = guarded.add_blob("x", b"data")
    guarded.redirect_blobs = True
    assert get(guarded, f"/v2/x/blobs/{digest}") == b"data"
    assert guarded.log[-1].server == "storage"


def test_a_way_back_has_no_credentials(guarded: FakeRegistry) -> None:
    digest = guarded.add_blob("x", b"data")
    guarded.redirect_blobs = True
    back = {"Location": f"{guarded.url}/v2/y/tags/list"}
    guarded.faults = [Fault(path="Signature", status=302, headers=back)]
    with pytest.raises(RegistryError, match="401"):
        get(guarded, f"/v2/x/blobs/{digest}")
    assert "Authorization" not in guarded.requests(path="/tags/")[0].headers


@pytest.mark.parametrize("asks", [False, True])
def test_the_password_of_a_login_stays_at_home(fake: FakeRegistry, asks: bool) -> None:
    """And whoever answers in place of the registry can't say that it is right."""
    if asks:
        fake.accounts.kind = "token"
        fake.accounts.passwords = {"alice": "secret-password"}
    away = {"Location": f"http://{fake.storage}/v2/"}
    fake.faults = [Fault(path="^/v2/$", status=307, headers=away, times=9, skip=2 if asks else 1)]
    with pytest.raises(RegistryError, match=f"{fake.storage} answers in place of the registry"):
        reach(fake).check_login(Login())
    elsewhere = [each for each in fake.log if each.server == "storage"]
    assert elsewhere
    assert not any("Authorization" in each.headers for each in elsewhere)


def test_a_password_that_was_not_asked_for_stays_at_home(fake: FakeRegistry) -> None:
    """Also if the registry redirects only those who show one."""
    away = {"Location": f"http://{fake.storage}/v2/"}
    # After the question for the scheme, and the one without a password.
    fake.faults = [Fault(path="^/v2/$", status=307, headers=away, skip=2)]
    with pytest.raises(RegistryError, match=f"{fake.storage} answers in place of the registry"):
        reach(fake).check_login(Login())
    assert "Authorization" in fake.log[-2].headers
    assert "Authorization" not in fake.log[-1].headers


def test_no_header_for_all_hosts_is_an_authorization() -> None:
    subject = Subject("r.example")
    with pytest.raises(ValueError, match="wherever the request is redirected"):
        Outgoing("GET", "https://r.example/", {"authorization": "Basic eA=="}, None, subject)


def test_redirects_end(fake: FakeRegistry) -> None:
    fake.faults = [Fault(path="/a", status=302, headers={"Location": "/a?more"}, times=99)]
    with pytest.raises(RegistryError, match="there are more than 10 redirects"):
        get(fake, "/a")
    assert len(fake.requests(path="/a")) == 11


BACKSLASHES = ["http://169.254.169.254\\/../x", "http://169.254.169.254\\@s.example/x"]


@pytest.mark.parametrize("target", BACKSLASHES)
def test_a_host_that_parsers_read_in_several_ways_is_refused(
    fake: FakeRegistry, target: str
) -> None:
    fake.faults = [Fault(path="/a", status=307, headers={"Location": target})]
    for start in ("/a", target):
        with pytest.raises(RegistryError, match="it leads to an invalid URL"):
            get(fake, start)


def test_what_is_connected_to_is_what_was_checked(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else parsers may disagree on."""
    monkeypatch.setattr(redirects, "_AMBIGUOUS", re.compile("(?!)"))
    with pytest.raises(UnsafeTargetError, match="it leads to an invalid URL"):
        reach(fake)._connections.ask(
            "GET", "http://127.0.0.1\\/../b", {}, None, Subject("r.example"), 1.0
        )


def test_a_host_that_is_not_known_is_not_gone_to(fake: FakeRegistry) -> None:
    target = "http://storage.invalid/b"
    fake.faults = [Fault(path="/a", status=307, headers={"Location": target})]
    with pytest.raises(RegistryError, match=r"to storage\.invalid, and there is no such host"):
        get(fake, "/a")


@pytest.mark.parametrize("target", [METADATA, "http://[fe80::1]/", "http://2852039166/"])
def test_nothing_leads_to_addresses_of_the_network_alone(fake: FakeRegistry, target: str) -> None:
    fake.faults = [Fault(path="/a", status=307, headers={"Location": target})]
    for start in ("/a", target):
        with pytest.raises(RegistryError, match="an address for this machine or network alone"):
            get(fake, start)


def test_content_is_not_lost_in_a_redirect(fake: FakeRegistry) -> None:
    fake.faults = [Fault("PUT", status=302, headers={"Location": "/b"})]
    with pytest.raises(RegistryError, match="PUT is redirected with 302, which loses the content"):
        get(fake, "/a", Body.of(b"data"), "PUT")
    assert fake.requests(path="/b") == []


def test_a_redirect_that_is_expected_is_returned(fake: FakeRegistry) -> None:
    fake.faults = [Fault(path="/a", status=307, headers={"Location": "/b"})]
    request = Request("GET", "/a", expected=(307,))
    with reach(fake).send(request) as response:
        assert response.headers["Location"] == "/b"


def test_the_answering_url_is_known(fake: FakeRegistry) -> None:
    digest = fake.add_blob("x", b"data")
    fake.redirect_blobs = True
    with reach(fake).send(Request("GET", f"/v2/x/blobs/{digest}")) as response:
        assert response.url.startswith(f"http://{fake.storage}/v2/x/blobs/{digest}?")


@pytest.mark.parametrize(
    ("method", "status", "location", "expected"),
    [
        ("GET", 302, "/b", "https://r.example/b"),
        ("HEAD", 301, "c?d=e", "https://r.example/v2/c?d=e"),
        ("PUT", 307, "//s.example/b", "https://s.example/b"),
        ("PATCH", 308, " https://s.example/b ", "https://s.example/b"),
        ("GET", 303, None, None),
        ("GET", 304, "/b", None),
        ("GET", 200, "/b", None),
    ],
)
def test_where_redirects_lead(
    method: str, status: int, location: str | None, expected: str | None
) -> None:
    assert next_target(method, status, location, "https://r.example/v2/a?q=1") == expected


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "https://",
        "https://h:99999/",
        "https://a:b@h/",
        "//h/",
        "http:x",
        "https://h\\/../x",
        "https://h/a\\b",
        "https://h\t.example/",
        "https://h\n/",
        "https://h x/",
        "\x01https://h/",
    ],
)
def test_urls_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(UnsafeTargetError):
        Origin.of(url)


def test_encryption_is_not_given_up() -> None:
    secure, plain = Origin.of("https://r.example"), Origin.of("http://r.example")
    plain.leads_to(secure)
    secure.leads_to(Origin.of("https://s.example:8443"))
    with pytest.raises(UnsafeTargetError, match=r"from HTTPS to plain HTTP, at r\.example"):
        secure.leads_to(plain)


def test_default_ports_are_the_same_origin() -> None:
    assert Origin.of("https://R.example/a") == Origin.of("https://r.example:443/b")
    assert Origin.of("https://r.example") != Origin.of("https://r.example:80")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h:1/p?X-Amz-Signature=s", "https://h:1/p"),
        ("https://user:password@h/p#f", "https://h/p"),
        ("https://h?a/b@c", "https://h"),
        ("/p?q=http://x@y", "/p"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("address", "from_public", "from_local"),
    [
        ("127.0.0.1", True, False),
        ("127.8.8.8", True, False),
        ("::1", True, False),
        ("0.0.0.0", True, False),
        ("::", True, False),
        ("::ffff:127.0.0.1", True, False),
        ("64:ff9b::7f00:1", True, False),
        ("169.254.169.254", True, True),
        ("::ffff:169.254.169.254", True, True),
        ("64:ff9b::a9fe:a9fe", True, True),
        ("fe80::1%eth0", True, True),
        ("fd00:ec2::254", True, True),
        ("100.100.100.200", True, True),
        ("224.0.0.1", True, True),
        ("10.1.2.3", False, False),
        ("192.168.1.1", False, False),
        ("fd12::1", False, False),
        ("93.184.216.34", False, False),
    ],
)
def test_which_addresses_are_refused(address: str, from_public: bool, from_local: bool) -> None:
    parsed = address_of(address)
    assert parsed is not None
    assert (refused_address([parsed], from_local=False) is not None) == from_public
    assert (refused_address([parsed], from_local=True) is not None) == from_local


def test_which_hosts_are_this_machine() -> None:
    local = ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.9", "::1", "[::1]"]
    assert all(map(is_local_name, local))
    other = ["localhost.example", "127.0.0.1.example", "10.0.0.1", "0.0.0.0", "notlocalhost"]
    assert not any(map(is_local_name, other))
