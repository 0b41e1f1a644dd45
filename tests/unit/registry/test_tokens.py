"""Tokens are fetched as the registry's challenge says, kept, and renewed."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nixdock.errors import RegistryError
from nixdock.network.body import Body
from nixdock.registry.blobs import upload_blob
from nixdock.registry.repository import Repository
from nixdock.registry.request import Request, Scope
from nixdock.registry.tokens import scope_names
from nixdock.registry.transport import Transport

from .fake_registry import FakeRegistry, Fault, digest_of, fake_registry
from .reaching import Clock, Login, reach

PULL = Scope("x")
PUSH = Scope("x", push=True)


@pytest.fixture
def guarded(fake: FakeRegistry) -> FakeRegistry:
    """A registry that wants tokens, with a blob in the repository `x`."""
    fake.accounts.kind = "token"
    fake.accounts.passwords = {"alice": "secret-password"}
    fake.add_blob("x", b"data")
    return fake


def look(transport: Transport, scope: Scope = PULL) -> None:
    request = Request("HEAD", f"/v2/{scope.repository}/blobs/{digest_of(b'data')}", scope)
    transport.send(request).close()


def upload(transport: Transport, data: bytes) -> None:
    with transport.send(Request("POST", "/v2/x/blobs/uploads/", PUSH, expected=(202,))) as response:
        target = f"{response.headers['Location']}?digest={digest_of(data)}"
    request = Request("PUT", target, PUSH, body=Body.of(data), expected=(201,), retry=False)
    transport.send(request).close()


def token_requests(fake: FakeRegistry) -> list[str]:
    return fake.routes(path="^/token")


def refusal(action: Callable[[], None]) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        action()
    return caught.value


def test_scopes_have_the_names_that_token_servers_know() -> None:
    assert scope_names(Scope()) == ()
    assert scope_names(Scope("a/b")) == ("repository:a/b:pull",)
    assert scope_names(Scope("a", push=True, mount_from="b")) == (
        "repository:a:pull,push",
        "repository:b:pull",
    )
    assert scope_names(Scope("a", push=True, mount_from="a")) == ("repository:a:pull,push",)


def test_whoever_has_no_credentials_asks_without(guarded: FakeRegistry) -> None:
    guarded.accounts.anonymous_pull = True
    transport = reach(guarded)
    look(transport)
    (asked,) = guarded.requests(path="^/token")
    assert "Authorization" not in asked.headers
    assert asked.path == "/token?service=fake&scope=repository%3Ax%3Apull"
    error = refusal(lambda: upload(transport, b"more"))
    assert (error.status, error.code) == (401, "UNAUTHORIZED")
    assert f'it wants credentials: run "nixdock login {guarded.host}"' in str(error)


def test_credentials_go_to_the_token_server_and_not_to_the_registry(
    guarded: FakeRegistry,
) -> None:
    look(reach(guarded, Login()))
    (asked,) = guarded.requests(path="^/token")
    pair = base64.b64encode(b"alice:secret-password").decode()
    assert asked.headers["Authorization"] == f"Basic {pair}"
    assert asked.path.endswith("&account=alice")
    sent = [each.headers.get("Authorization") for each in guarded.requests(path="/blobs/")]
    assert sent == [None, "Bearer secret-token-1"]


def test_credentials_are_looked_up_once_for_each_repository(guarded: FakeRegistry) -> None:
    asked = []

    def find(host: str, repository: str) -> Login:
        asked.append((host, repository))
        return Login()

    guarded.add_blob("y", b"data")
    transport = reach(guarded, find=find)
    for name in ("x", "x", "y"):
        look(transport, Scope(name))
    assert asked == [(guarded.host, "x"), (guarded.host, "y")]


def test_an_open_registry_gets_no_credentials(fake: FakeRegistry) -> None:
    def find(_host: str, _repository: str) -> None:
        raise AssertionError

    fake.add_blob("x", b"data")
    look(reach(fake, Login()))
    look(reach(fake, find=find))
    assert refusal(lambda: look(reach(fake, find=find), Scope("y"))).status == 404
    assert all("Authorization" not in each.headers for each in fake.log)


def test_wrong_credentials_are_refused(guarded: FakeRegistry) -> None:
    error = refusal(lambda: look(reach(guarded, Login(password="wrong-password"))))
    assert error.status == 401
    assert "it refuses the credentials" in str(error)


def test_a_token_is_kept_for_its_scope(guarded: FakeRegistry) -> None:
    transport = reach(guarded, Login())
    for _ in range(3):
        look(transport)
        upload(transport, b"more")
    assert guarded.accounts.asked == [["repository:x:pull"], ["repository:x:pull,push"]]
    assert guarded.requests(path="/uploads/")[0].headers["Authorization"] == "Bearer secret-token-2"


def test_threads_share_one_token(guarded: FakeRegistry) -> None:
    transport = reach(guarded, Login())
    look(transport, Scope("x"))
    barrier = threading.Barrier(8)

    def push(_number: int) -> None:
        barrier.wait()
        look(transport, PUSH)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(push, range(8)))
    assert len(token_requests(guarded)) == 2


def test_a_token_is_renewed_before_it_expires(guarded: FakeRegistry) -> None:
    clock = Clock()
    transport = reach(guarded, Login(), clock)
    for passed in (0, 289, 2, 289):
        clock.time += passed
        look(transport)
    assert len(token_requests(guarded)) == 2


@pytest.mark.parametrize(
    ("answer", "life"),
    [
        ({}, 60),
        ({"expires_in": None}, 60),
        ({"expires_in": "300"}, 60),
        ({"expires_in": -1}, 60),
        ({"expires_in": True}, 60),
        ({"expires_in": 1000}, 1000),
        ({"expires_in": 1e300}, 86_400),
        ({"expires_in": 1000, "issued_at": -400}, 600),
        ({"expires_in": 1000, "issued_at": 400}, 1000),
        ({"expires_in": 1000, "issued_at": -4000}, 1000),
        ({"expires_in": 1000, "issued_at": "yesterday"}, 1000),
    ],
)
def test_lives_of_tokens_are_read_leniently(
    guarded: FakeRegistry, answer: dict[str, Any], life: int
) -> None:
    clock = Clock()
    if isinstance(shift := answer.get("issued_at"), int):
        moment = datetime.fromtimestamp(clock.time, UTC) + timedelta(seconds=shift)
        answer = answer | {"issued_at": moment.isoformat().replace("+00:00", "Z")}
    guarded.accounts.shape = lambda document: {"access_token": document["token"]} | answer
    transport = reach(guarded, Login(), clock)
    look(transport)
    clock.time += life - min(10, life / 10) - 1
    look(transport)
    assert len(token_requests(guarded)) == 1
    clock.time += 2
    look(transport)
    assert len(token_requests(guarded)) == 2


def test_a_token_that_is_used_up_is_renewed_in_the_middle_of_a_push(
    guarded: FakeRegistry,
) -> None:
    guarded.accounts.token_uses = 1
    transport = reach(guarded, Login())
    upload(transport, b"some content")
    assert guarded.blobs["x"][digest_of(b"some content")]
    assert [each.received for each in guarded.requests("PUT")] == [12, 12]
    assert len(token_requests(guarded)) == 2


def test_a_token_is_renewed_only_once(guarded: FakeRegistry) -> None:
    guarded.accounts.token_uses = 0
    error = refusal(lambda: look(reach(guarded, Login())))
    assert error.status == 401
    assert len(token_requests(guarded)) == 1
    assert len(guarded.requests(path="/blobs/")) == 2


def test_a_mount_has_both_scopes(guarded: FakeRegistry) -> None:
    transport = reach(guarded, Login())
    digest = digest_of(b"data")
    request = Request(
        "POST",
        f"/v2/y/blobs/uploads/?mount={digest}&from=x",
        Scope("y", push=True, mount_from="x"),
        expected=(201,),
    )
    transport.send(request).close()
    assert guarded.accounts.asked == [["repository:y:pull,push", "repository:x:pull"]]


def test_what_the_registry_asks_for_beyond_the_scope_is_asked_for_too(
    guarded: FakeRegistry,
) -> None:
    transport = reach(guarded, Login())
    request = Request("HEAD", f"/v2/x/blobs/{digest_of(b'data')}", Scope("y"))
    transport.send(request).close()
    assert guarded.accounts.asked == [["repository:y:pull", "repository:x:pull"]]


@pytest.mark.parametrize("actions", ["pull,push", "push,pull"])
def test_what_a_scope_allows_is_not_asked_for_twice(guarded: FakeRegistry, actions: str) -> None:
    """Distribution names the actions in any order."""
    guarded.accounts.push_actions = actions
    upload_blob(Repository(reach(guarded, Login()), "x"), digest_of(b"new"), Body.of(b"new"))
    assert guarded.accounts.asked == [["repository:x:pull,push"]]


@pytest.mark.parametrize("accepts_post", [True, False])
def test_an_identity_token_is_exchanged(guarded: FakeRegistry, accepts_post: bool) -> None:
    guarded.accounts.accepts_post = accepts_post
    guarded.accounts.identity_tokens = {"identity-token"}
    look(reach(guarded, Login(identity_token="identity-token")))
    routes = ["POST /token"] if accepts_post else ["POST /token", "GET /token"]
    assert token_requests(guarded) == routes
    posted = guarded.requests("POST", "^/token$")[0]
    assert posted.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in posted.headers


def test_an_identity_token_that_is_not_known_is_refused(guarded: FakeRegistry) -> None:
    error = refusal(lambda: look(reach(guarded, Login(identity_token="old"))))
    assert (error.status, error.code) == (401, "UNAUTHORIZED")


def test_a_form_with_an_identity_token_is_not_redirected(guarded: FakeRegistry) -> None:
    guarded.faults = [
        Fault("POST", "/token", status=307, headers={"Location": f"http://{guarded.storage}/token"})
    ]
    error = refusal(lambda: look(reach(guarded, Login(identity_token="identity-token"))))
    assert error.status == 307
    assert all(each.server == "registry" for each in guarded.log)


def test_basic_credentials_are_sent_where_they_are_asked_for(guarded: FakeRegistry) -> None:
    guarded.accounts.kind = "basic"
    transport = reach(guarded, Login())
    look(transport)
    look(transport)
    sent = ["Authorization" in each.headers for each in guarded.requests(path="/blobs/")]
    assert sent == [False, True, True]
    assert "wants credentials" in str(refusal(lambda: look(reach(guarded))))
    wrong = reach(guarded, Login(password="wrong-password"))
    assert "refuses the credentials" in str(refusal(lambda: look(wrong)))


@pytest.mark.parametrize(
    "document", [{}, {"token": ""}, {"token": 7}, {"token": "two\r\nlines"}, {"token": "é"}]
)
def test_an_answer_without_a_token_is_refused(
    guarded: FakeRegistry, document: dict[str, Any]
) -> None:
    guarded.accounts.shape = lambda answer: document
    error = refusal(lambda: look(reach(guarded, Login())))
    assert str(error).endswith("the answer of the token server has no token")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "has no token"),
        (b'"' + bytes(2 << 20), "is too long"),
        (b'{"token": "a", "issued_at": ' + b"[" * 5000 + b"]" * 5000 + b"}", "has no token"),
        (b'{"token": "a", "expires_in": 1' + b"0" * 400 + b"}", "it refuses the credentials"),
    ],
)
def test_answers_of_token_servers_are_bounded(
    guarded: FakeRegistry, body: bytes, message: str
) -> None:
    guarded.faults = [Fault(path="^/token", status=200, body=body)]
    assert message in str(refusal(lambda: look(reach(guarded, Login()))))


def test_a_token_server_that_is_overloaded_is_asked_again(guarded: FakeRegistry) -> None:
    guarded.faults = [
        Fault(path="^/token", status=429, headers={"Retry-After": "9"}),
        Fault(path="^/token", status=503),
        Fault(path="^/token", cut=0),
    ]
    clock = Clock()
    look(reach(guarded, Login(), clock))
    assert clock.slept == [9.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("realm", "message"),
    [
        ("http://auth.invalid/token", "has plain HTTP, by which no password may be sent"),
        ("http://169.254.169.254/token", "has plain HTTP"),
        ("https://169.254.169.254/token", "an address for this machine or network alone"),
        ("ftp://auth.example/token", "is not a URL of HTTP"),
        ("https://user:password@auth.example/token", "https://auth.example/token with a username"),
        ("https://[::1/token", "an invalid URL"),
    ],
)
def test_the_registry_does_not_choose_any_realm(
    guarded: FakeRegistry, realm: str, message: str
) -> None:
    guarded.accounts.realm = realm
    error = refusal(lambda: look(reach(guarded, Login())))
    assert message in str(error)
    assert "user:password" not in str(error)


def test_the_realm_of_a_plain_registry_may_be_on_this_machine(guarded: FakeRegistry) -> None:
    with fake_registry() as other:
        other.accounts.passwords = guarded.accounts.passwords
        other.accounts.issued = guarded.accounts.issued
        guarded.accounts.realm = f"{other.url}/token"
        look(reach(guarded, Login()))
        assert other.routes() == ["GET /token"]
