"""Requests reach the registry, are tried again where that helps, and errors say what to do."""

from __future__ import annotations

import io
import logging
import os
import socket
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest

from nixdock.errors import RegistryError
from nixdock.network.body import Body, ContentError
from nixdock.registry.request import Request, Scope
from nixdock.registry.transport import Response, Transport

from .fake_registry import FakeRegistry, Fault, digest_of
from .reaching import Clock, Login, reach


def get(transport: Transport, digest: str, repository: str = "x") -> bytes:
    request = Request(
        "GET",
        f"/v2/{repository}/blobs/{digest}",
        Scope(repository),
        subject=f"the blob {digest}",
    )
    with transport.send(request) as response:
        return response.whole(1 << 24)


def put(transport: Transport, data: bytes, *, retry: bool = True) -> Response:
    with transport.send(
        Request("POST", "/v2/x/blobs/uploads/", Scope("x", push=True), expected=(202,))
    ) as response:
        location = response.headers["Location"]
    separator = "&" if "?" in location else "?"
    return transport.send(
        Request(
            "PUT",
            f"{location}{separator}digest={digest_of(data)}",
            Scope("x", push=True),
            body=Body.of(data),
            expected=(201,),
            subject="the upload",
            retry=retry,
        )
    )


def failure(transport: Transport, digest: str = "sha256:" + "0" * 64) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        get(transport, digest)
    return caught.value


def test_connections_are_kept_if_bodies_were_read(fake: FakeRegistry) -> None:
    digest = fake.add_blob("x", bytes(200_000))
    transport = reach(fake)
    for _ in range(3):
        get(transport, digest)
        transport.send(Request("HEAD", f"/v2/x/blobs/{digest}")).close()
        put(transport, b"data").close()
    assert len({each.connection for each in fake.log}) == 1
    with transport.send(Request("GET", f"/v2/x/blobs/{digest}")) as response:
        response.readinto(bytearray(10))
    get(transport, digest)
    assert len({each.connection for each in fake.log}) == 2


def test_a_plain_registry_on_this_machine_is_asked_for_its_scheme_once(fake: FakeRegistry) -> None:
    digest = fake.add_blob("x", b"data")
    transport = reach(fake)
    for _ in range(3):
        get(transport, digest)
    assert fake.routes() == ["GET /v2/", *[f"GET /v2/x/blobs/{digest}"] * 3]
    assert transport.request_count == len(fake.log)


def test_bodies_are_not_encoded(fake: FakeRegistry) -> None:
    digest = fake.add_blob("x", b"data")
    get(reach(fake), digest)
    assert fake.log[-1].headers["Accept-Encoding"] == "identity"


def test_several_threads_share_the_connections(fake: FakeRegistry) -> None:
    digests = [fake.add_blob("x", bytes([number]) * 100_000) for number in range(40)]
    transport = reach(fake)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda digest: get(transport, digest), digests))
    assert [digest_of(data) for data in found] == digests
    assert len({each.connection for each in fake.requests(path="/blobs/")}) <= 8


# Newer versions of Python warn of what this is about: the server's threads.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_child_processes_have_connections_of_their_own(fake: FakeRegistry) -> None:
    digest = fake.add_blob("x", b"data")
    transport = reach(fake)
    get(transport, digest)
    child = os.fork()
    if child == 0:
        os._exit(get(transport, digest) != b"data")
    assert os.waitpid(child, 0)[1] == 0
    get(transport, digest)
    first, second, third = (each.connection for each in fake.requests(path="/blobs/"))
    assert first == third != second


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_answers_that_may_pass_are_asked_for_again(fake: FakeRegistry, status: int) -> None:
    digest = fake.add_blob("x", b"data")
    fake.faults = [Fault(path="/blobs/", status=status, times=3)]
    clock = Clock()
    assert get(reach(fake, clock=clock), digest) == b"data"
    assert clock.slept == [2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("value", "slept"), [("7", 7.0), (formatdate(Clock().time + 20, usegmt=True), 20.0)]
)
def test_retry_after_is_heeded(fake: FakeRegistry, value: str, slept: float) -> None:
    digest = fake.add_blob("x", b"data")
    fake.faults = [Fault(path="/blobs/", status=429, headers={"Retry-After": value})]
    clock = Clock()
    assert get(reach(fake, clock=clock), digest) == b"data"
    assert clock.slept == [slept]


def test_attempts_end(fake: FakeRegistry) -> None:
    fake.faults = [Fault(path="/blobs/", status=503, times=99)]
    clock = Clock()
    error = failure(reach(fake, clock=clock, attempts=3))
    assert (error.status, error.is_broken, clock.slept) == (503, False, [2.0, 4.0])
    assert str(error) == (
        f"{fake.host}/x: the blob sha256:{'0' * 64}: the registry answers 503; the fault is the"
        " registry's: try again later"
    )
    assert error.digest == f"sha256:{'0' * 64}"
    assert error.place == f"{fake.host}/x"


@pytest.mark.parametrize("cut", [0, 3])
def test_a_broken_answer_can_be_told_apart(fake: FakeRegistry, cut: int) -> None:
    digest = fake.add_blob("x", bytes(3 << 20))
    fake.faults = [Fault(path="/blobs/", cut=cut)]
    with (
        reach(fake).send(Request("GET", f"/v2/x/blobs/{digest}", Scope("x"))) as response,
        pytest.raises(RegistryError, match=r"the connection to 127\.0\.0\.1:\d+ broke") as caught,
    ):
        response.whole(1 << 24)
    assert caught.value.is_broken


def test_a_stalled_answer_can_be_told_apart(fake: FakeRegistry) -> None:
    digest = fake.add_blob("x", bytes(3 << 20))
    fake.faults = [Fault(path="/blobs/", cut=3, stall=True)]
    transport = reach(fake, timeout=0.2)
    with (
        transport.send(Request("GET", f"/v2/x/blobs/{digest}", Scope("x"))) as response,
        pytest.raises(RegistryError, match=r"was silent for 0\.2 seconds$") as caught,
    ):
        response.whole(1 << 24)
    assert caught.value.is_broken


def test_a_request_that_breaks_is_sent_again_as_a_whole(fake: FakeRegistry) -> None:
    data = bytes(range(256)) * 20_000
    fake.keeps_partial = False
    fake.faults = [Fault("PUT", cut=1000)]
    put(reach(fake), data).close()
    assert fake.blobs["x"] == {digest_of(data): data}
    assert [each.received for each in fake.requests("PUT")] == [1000, len(data)]


def test_a_request_that_must_not_be_repeated_breaks(fake: FakeRegistry) -> None:
    fake.faults = [Fault("PUT", cut=1000), Fault("PUT", status=500)]
    for _ in range(2):
        with pytest.raises(RegistryError) as caught:
            put(reach(fake), bytes(1 << 20), retry=False)
        assert caught.value.is_broken
    assert len(fake.requests("PUT")) == 2


def test_a_request_that_was_not_begun_is_repeated(fake: FakeRegistry) -> None:
    fake.faults = [Fault("PUT", status=429)]
    put(reach(fake), b"data", retry=False).close()
    assert len(fake.requests("PUT")) == 2


def test_a_stalled_upload_is_given_up(fake: FakeRegistry) -> None:
    fake.faults = [Fault("PUT", cut=1000, stall=True)]
    with pytest.raises(RegistryError, match="silent") as caught:
        put(reach(fake, timeout=0.3), bytes(50 << 20), retry=False)
    assert caught.value.is_broken


def test_an_answer_that_comes_before_the_content_was_sent_is_read(fake: FakeRegistry) -> None:
    fake.faults = [Fault("PUT", status=413, early=True, times=9)]
    with pytest.raises(RegistryError, match="limits the size of uploads") as caught:
        put(reach(fake), bytes(50 << 20), retry=False)
    assert caught.value.status == 413


def test_content_that_is_not_as_long_as_announced_is_not_sent(fake: FakeRegistry) -> None:
    def send(body: Body) -> None:
        request = Request("PUT", "/v2/x/manifests/v1", body=body, subject="the manifest v1")
        reach(fake).send(request)

    with pytest.raises(ContentError, match=r"the manifest v1: the content ends 6 bytes early"):
        send(Body(10, lambda: io.BytesIO(b"four")))
    with pytest.raises(RegistryError):
        send(Body(2, lambda: io.BytesIO(b"{}GET /v2/smuggled HTTP/1.1\r\n\r\n")))
    assert [each.received for each in fake.requests("PUT")][-1] == 2
    assert fake.requests(path="smuggled") == []


def test_content_that_cannot_be_read_is_no_broken_connection(fake: FakeRegistry) -> None:
    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    def missing() -> io.BytesIO:
        raise FileNotFoundError(2, "No such file or directory")

    for open_it, reason in ((Broken, "Input/output error"), (missing, "No such file")):
        request = Request("PUT", "/v2/x/manifests/v1", body=Body(10, open_it))
        with pytest.raises(ContentError, match=f"can't be read: {reason}") as caught:
            reach(fake).send(request)
        assert isinstance(caught.value.error, RegistryError)
        assert not caught.value.error.is_broken


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b"", '401; it wants credentials: run "nixdock login HOST"'),
        (
            403,
            b'{"errors":[{"code":"DENIED","message":"not\\u001b[31m yours","detail":{}}]}',
            '403 DENIED: not\\x1b[31m yours; this may need an account: run "nixdock login HOST"',
        ),
        (
            404,
            b'{"errors":[{"code":"NAME_UNKNOWN","message":"a"},{"code":"B","message":"b"}]}',
            "404 NAME_UNKNOWN: a; b; there is no such repository, or it is private",
        ),
        (404, b"404 page not\nfound\n", "404: 404 page not found"),
        (404, b"<html><h1>lost</h1></html>", "404"),
        (404, b'{"errors":7}', "404"),
        (404, b"[1]", "404"),
        (404, b"\xff\x00", "404: \ufffd\\x00"),
        (
            413,
            b"",
            "413; the registry, or a proxy before it, limits the size of uploads",
        ),
        (
            429,
            b"",
            (
                "429; it limits the number of requests: try again later, or run"
                ' "nixdock login HOST" for a higher limit'
            ),
        ),
    ],
)
def test_errors_say_what_to_do(fake: FakeRegistry, status: int, body: bytes, message: str) -> None:
    fake.faults = [Fault(path="/blobs/", status=status, body=body, times=9)]
    digest = f"sha256:{'0' * 64}"
    error = failure(reach(fake, attempts=1))
    expected = message.replace("HOST", fake.host)
    assert str(error) == f"{fake.host}/x: the blob {digest}: the registry answers {expected}"
    assert error.status == status


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "401"),
        (403, "403"),
        (404, "404"),
        (413, "413; that host limits the size of uploads"),
        (429, "429; it limits the number of requests: try again later"),
        (500, "500; the fault is that host's: try again later"),
    ],
)
def test_errors_of_where_the_registry_leads_are_not_the_registrys(
    fake: FakeRegistry, status: int, said: str
) -> None:
    """An object store knows nothing of the account, so that no login helps."""
    digest = fake.add_blob("x", b"data")
    fake.redirect_blobs = True
    body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
    fake.faults = [Fault(path="Signature", status=status, body=body, times=9)]
    error = failure(reach(fake, Login(), attempts=1), digest)
    assert str(error) == (
        f"{fake.host}/x: the blob {digest}: {fake.storage}, to which the registry leads,"
        f" answers {said}"
    )
    assert error.status == status


def test_huge_error_bodies_are_cut(fake: FakeRegistry) -> None:
    fake.faults = [Fault(path="/blobs/", status=400, body=b"x" * (64 << 20))]
    error = failure(reach(fake))
    assert len(str(error)) < 600
    assert fake.add_blob("x", b"data")


def test_a_closed_port_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{server.getsockname()[1]}"
        error = failure(reach(host))
    assert f"{host} refuses connections: check the host and port" in str(error)


def test_an_unknown_host_is_named() -> None:
    error = failure(reach("registry.invalid"))
    assert "there is no host registry.invalid: check the name" in str(error)


def test_a_host_that_is_none_is_named() -> None:
    assert "host:port" in str(failure(reach("host:port")))


def test_a_server_of_something_else_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        error = failure(reach(host, attempts=2))
        done.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()
    assert f"{host}/x: the blob" in str(error)
    assert error.status is None


def test_warnings_are_logged_once(fake: FakeRegistry, caplog: pytest.LogCaptureFixture) -> None:
    digest = fake.add_blob("x", b"data")
    fake.warning = '299 - "this \\"x\\" is old", 299 - "and \x1b[1mloud"'
    transport = reach(fake)
    get(transport, digest)
    get(transport, digest)
    assert [record.message for record in caplog.records] == [
        f'{fake.host} warns: this "x" is old',
        f"{fake.host} warns: and \\x1b[1mloud",
    ]


def test_a_login_is_checked(fake: FakeRegistry) -> None:
    fake.accounts.passwords = {"alice": "secret-password"}
    for kind in ("basic", "token"):
        fake.accounts.kind = kind
        reach(fake).check_login(Login())
        with pytest.raises(RegistryError, match="it refuses the credentials") as caught:
            reach(fake).check_login(Login(password="wrong-password"))
        assert caught.value.status == 401


def test_a_login_is_shown_to_a_registry_that_lets_everybody_in(fake: FakeRegistry) -> None:
    reach(fake).check_login(Login())
    assert fake.log[-1].headers["Authorization"].startswith("Basic ")


def test_secrets_are_nowhere(fake: FakeRegistry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fake.accounts.kind = "token"
    fake.accounts.passwords = {"alice": "secret-password"}
    fake.redirect_blobs = True
    digest = fake.add_blob("x", b"data")
    login = Login()
    transport = reach(fake, login)
    get(transport, digest)
    # Basic credentials are in base64.
    echo = b"secret-password secret-token-1 YWxpY2U6c2VjcmV0LXBhc3N3b3Jk"
    fake.faults = [
        Fault(path="Signature", status=400, body=echo + b" signature-of-storage"),
        Fault(path="^/v2/x/blobs", status=400, body=echo, skip=1),
        Fault(path="^/token", status=401, body=b"secret-password"),
    ]
    errors = [failure(transport, digest), failure(transport, digest)]
    errors.append(failure(reach(fake, login), digest))
    said = caplog.text + repr(transport.access)
    for error in errors:
        said += "".join(traceback.format_exception(error))
        assert "..." in str(error)
    assert "urllib3" in said
    for secret in (*echo.decode().split(), "secret-token", "signature-of-storage"):
        assert secret not in said
