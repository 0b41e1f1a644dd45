"""The server: it ends without leaving anything, and clients do not hold each other up."""

from __future__ import annotations

import errno
import hashlib
import http.client
import io
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nixdock.errors import InputError
from nixdock.oci.descriptor import Blob
from nixdock.oci.digests import sha256_digest
from nixdock.runtime import channel, connections
from nixdock.runtime.app import application
from nixdock.runtime.catalogue import Document, Offer, Repository, catalogue
from nixdock.runtime.gate import Gate
from nixdock.runtime.listen_address import (
    LOOPBACK,
    Address,
    ListenAddress,
    UnixAddress,
    parse_address,
)
from nixdock.runtime.server import listening
from nixdock.runtime.tally import Tally

# More than the buffers of both sockets of a connection take.
LARGE = bytes(1 << 20) * 24
DIGEST = sha256_digest(LARGE)
MANIFEST = Blob("application/vnd.oci.image.manifest.v1+json", b"{}")
CATALOGUE = catalogue(
    [Offer(("a:1",), MANIFEST, {MANIFEST.digest: MANIFEST}, {DIGEST: Document(LARGE)})]
)
BLOB = f"/v2/a/blobs/{DIGEST}"


@pytest.fixture
def address() -> Iterator[ListenAddress]:
    with listening(application(CATALOGUE)) as address:
        yield tcp(address)


def tcp(address: Address) -> ListenAddress:
    assert isinstance(address, ListenAddress)
    return address


def get(address: ListenAddress, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def other_threads() -> set[threading.Thread]:
    """Return all threads but those of waitress that are about to end."""
    for thread in threading.enumerate():
        if thread.name.startswith("waitress"):
            thread.join(30)
    return set(threading.enumerate())


def connect(address: ListenAddress, text: bytes) -> socket.socket:
    client = socket.create_connection((address.host, address.port), timeout=30)
    client.sendall(text)
    return client


def received(client: socket.socket) -> bytes:
    data = b""
    while chunk := client.recv(1 << 16):
        data += chunk
    return data


def test_it_serves_and_then_is_gone() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    threads = set(threading.enumerate())
    with listening(application(CATALOGUE)) as actual:
        address = tcp(actual)
        assert get(address, "/v2/") == (200, b"{}")
        status, data = get(address, BLOB)
        assert (status, sha256_digest(data)) == (200, DIGEST)
        assert get(address, BLOB, Range="bytes=5-6") == (206, b"\0\0")
        idle = connect(address, b"GET /v2/ HTTP/1.1\r\n")
        stuck = connect(address, f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        stuck.recv(1)
    assert other_threads() <= threads
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((address.host, address.port))
    idle.close()
    stuck.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_what_the_client_has_is_not_sent(address: ListenAddress) -> None:
    tag = f'If-None-Match: W/"{DIGEST}"\r\n'
    head = f"HEAD {BLOB} HTTP/1.1\r\nHost: localhost\r\n{tag}Connection: close\r\n\r\n"
    with connect(address, head.encode()) as client:
        answer = received(client)
    assert answer.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert b"Content-Length" not in answer
    assert get(address, BLOB, **{"If-None-Match": f'"{DIGEST}"'}) == (304, b"")


def test_who_pulls_is_refused_when_the_gate_is_shut() -> None:
    gate = Gate()
    with listening(application(CATALOGUE), gate=gate) as actual:
        address = tcp(actual)
        with connect(address, f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()) as stuck:
            stuck.recv(1)
            gate.shut()
            with suppress(ConnectionResetError):
                assert len(received(stuck)) < len(LARGE)
        status, data = get(address, BLOB)
        assert (status, json.loads(data)["errors"][0]["code"]) == (403, "DENIED")


@dataclass(frozen=True)
class FileBlob:
    """A blob in a file, which may change."""

    path: Path
    size: int

    def open(self) -> io.RawIOBase:
        return io.FileIO(self.path)


@pytest.mark.parametrize("ranges", [{}, {"Range": "bytes=1-"}, {"Range": "bytes=0-0,2-20000000"}])
def test_a_file_that_becomes_shorter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ranges: dict[str, str]
) -> None:
    """Its clients get to know, and do not wait for what will not come."""
    path, tally = tmp_path / "blob", Tally()
    path.write_bytes(LARGE)
    served = {"a": Repository(blobs={DIGEST: FileBlob(path, len(LARGE))})}
    with listening(application(served, tally)) as actual:
        address = tcp(actual)
        fields = "".join(f"{name}: {value}\r\n" for name, value in ranges.items())
        request = f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()
        with connect(address, request) as client:
            client.recv(1)
            os.truncate(path, len(LARGE) - (8 << 20))
            assert len(received(client)) < len(LARGE) - (8 << 20) + 1000
        (record,) = caplog.records
        assert f"the blob {DIGEST} is cut off: its file has become shorter" in record.getMessage()
        # Who asks later is told at once.
        status, data = get(address, BLOB)
        assert (status, json.loads(data)["errors"][0]["code"]) == (403, "DENIED")
        assert get(address, BLOB, Range="bytes=0-9") == (206, bytes(10))
    assert len(caplog.records) == 2
    assert not tally.is_busy


class Failing(io.RawIOBase):
    """A stream on a disk that is broken after some bytes."""

    at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        assert whence == io.SEEK_SET
        self.at = offset
        return offset

    def readinto(self, buffer: Any, /) -> int:
        if 1 << 20 <= self.at < len(LARGE) - 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        count = min(len(buffer), 1 << 16)
        self.at += count
        return count


class FailingBlob:
    size = len(LARGE)

    def open(self) -> io.RawIOBase:
        return Failing()


def test_a_disk_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    served = {"a": Repository(blobs={DIGEST: FailingBlob()})}
    with listening(application(served)) as actual:
        address = tcp(actual)
        with connect(address, f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()) as client:
            assert 1 << 20 <= len(received(client)) < (1 << 20) + 1000
        assert get(address, "/v2/") == (200, b"{}")
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{DIGEST} can't be served: ")
    assert "Input/output error" in record.getMessage()


def test_an_error_in_the_block_ends_it_as_well() -> None:
    threads = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), listening(application(CATALOGUE)):
        raise KeyboardInterrupt
    assert other_threads() <= threads


def test_clients_that_do_not_read_hold_nobody_up(address: ListenAddress) -> None:
    request = f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as stack:
        # More than there are threads.
        for _ in range(40):
            stack.enter_context(connect(address, request)).recv(1)
        assert get(address, "/v2/a/tags/list")[0] == 200
        assert len(get(address, BLOB)[1]) == len(LARGE)


def test_clients_that_ask_for_more_and_do_not_read_hold_nobody_up(address: ListenAddress) -> None:
    request = f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as stack:
        # More than there are threads.
        for _ in range(60):
            stack.enter_context(connect(address, request * 3)).recv(1)
        assert get(address, "/v2/a/tags/list")[0] == 200
        assert len(get(address, BLOB)[1]) == len(LARGE)


def test_requests_that_come_at_once_are_answered_in_order(address: ListenAddress) -> None:
    paths = (BLOB, "/v2/", BLOB, "/v2/a/tags/list", "/v2/none/tags/list")
    text = "".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths)
    with connect(address, text.encode()) as client, client.makefile("rb") as stream:
        for path in paths:
            assert int(stream.readline().split()[1]) == (404 if "none" in path else 200)
            size = int(http.client.parse_headers(stream)["Content-Length"])
            assert (stream.read(size) == LARGE) is (path == BLOB)


def test_clients_that_send_half_a_request_hold_nobody_up(address: ListenAddress) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connect(address, b"GET /v2/ HTTP/1.1\r\nX: "))
        assert get(address, "/v2/")[0] == 200


def test_a_request_has_to_be_complete_in_time(
    address: ListenAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "PATIENCE", -1)
    with connect(address, b"GET /v2/ HTTP/1.1\r\n") as client:
        # The second piece has to be one of its own.
        assert get(address, "/v2/")[0] == 200
        client.sendall(b"X: y\r\n")
        assert received(client) == b""


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /v2/ HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v2/ HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nTransfer-Encoding: odd\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nNo colon\r\n\r\n",
        b"\0\1\2\r\n\r\n",
    ],
)
def test_hostile_requests(address: ListenAddress, request_text: bytes) -> None:
    with connect(address, request_text) as client:
        client.settimeout(30)
        try:
            answer = client.recv(100)
        except ConnectionResetError:
            answer = b""
    assert answer == b"" or answer.split()[1] in {b"400", b"413", b"431", b"501"}
    assert get(address, "/v2/") == (200, b"{}")


@pytest.mark.parametrize(
    ("request_text", "status", "code"),
    [
        (b"GET /v2/ HTTP/1.1\r\nNo colon\r\n\r\n", 400, "MALFORMED"),
        (b"POST /v2/ HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413, "TOO_LARGE"),
        (b"GET /v2/ HTTP/1.1\r\nTransfer-Encoding: odd\r\n\r\n", 501, "UNSUPPORTED"),
    ],
)
def test_what_is_not_http_gets_an_error_of_registries(
    address: ListenAddress, request_text: bytes, status: int, code: str
) -> None:
    with connect(address, request_text) as client:
        head, _, body = received(client).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert b"Content-Type: application/json" in head
    (error,) = json.loads(body)["errors"]
    assert error["code"] == code
    assert error["message"]


@pytest.mark.parametrize(
    ("body", "lengths"),
    [(b"", b""), (b"", b"Content-Length: 0\r\n"), (b"body", b"Content-Length: 4\r\n")],
)
def test_who_waits_to_send_a_body_is_answered(
    address: ListenAddress, body: bytes, lengths: bytes
) -> None:
    head = b"GET /v2/ HTTP/1.1\r\nExpect: 100-continue\r\n" + lengths + b"\r\n"
    last = b"GET /v2/nothing HTTP/1.1\r\nConnection: close\r\n\r\n"
    with connect(address, head) as client:
        if body:
            assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body + last)
        lines = received(client).split(b"\r\n")
    assert [line.split()[1] for line in lines if b"HTTP/1" in line] == [b"200", b"404"]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /v2/../../../etc/passwd", 404),
        (b"GET /v2/%2e%2e/%2e%2e/etc/passwd", 404),
        (b"GET /v2/a/blobs/..%2f..%2f..%2fetc%2fpasswd", 404),
        (b"GET /v2/..%2fa/blobs/" + DIGEST.encode(), 400),
        (b"GET /v2/a/manifests/..%00", 404),
        (b"GET //v2//a/blobs/" + DIGEST.encode(), 400),
        (b"GET http://other.example/v2/a/tags/list", 200),
        (b"DELETE /v2/a/manifests/1", 405),
        (b"PUT /v2/a/manifests/1", 405),
        (b"POST /v2/a/blobs/uploads/", 405),
        (b"CONNECT other.example:443", 405),
        (b"TRACE /v2/", 405),
    ],
)
def test_requests_for_what_is_not_served(address: ListenAddress, line: bytes, status: int) -> None:
    text = line + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connect(address, text) as client:
        answer = received(client)
    assert int(answer.split()[1]) == status
    assert b"root:" not in answer


def test_hostile_clients_hurt_nobody_else() -> None:
    tally = Tally()
    with listening(application(CATALOGUE, tally)) as actual, ExitStack() as stack:
        address = tcp(actual)
        kinds = [
            b"GET /v2/ HTTP/1.1\r\nX: ",
            f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
            b"GET /v2/ HTTP/1.1\r\nX: " + b"y" * 40_000,
            b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nContent-Length: 60000\r\n\r\nhalf",
            f"GET {BLOB} HTTP/1.1\r\nRange: bytes=9-1\r\n\r\n".encode(),
            b"",
        ]
        for kind in kinds * 20:
            with suppress(ConnectionError):
                stack.enter_context(connect(address, kind))
        with ThreadPoolExecutor(8) as pool:
            found = {data for _, data in pool.map(lambda _: get(address, BLOB), range(8))}
        assert found == {LARGE}


def test_half_requests_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 4)
    with listening(application(CATALOGUE)) as actual, ExitStack() as stack:
        address = tcp(actual)
        slow = [stack.enter_context(connect(address, b"GET /v2/ HTTP/1.1\r\n")) for _ in range(12)]
        assert get(address, "/v2/")[0] == 200
        assert received(slow[0]) == b""


@pytest.mark.parametrize("requests", [1, 3])
@pytest.mark.parametrize(("most", "patience"), [(4, "_PATIENCE_WITHOUT_ROOM"), (400, "PATIENCE")])
def test_who_reads_nothing_is_let_go(
    monkeypatch: pytest.MonkeyPatch, most: int, patience: str, requests: int
) -> None:
    """As many as there may be at a time would otherwise keep everybody else out."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", most)
    monkeypatch.setattr(f"nixdock.runtime.channel.{patience}", 0.5)
    monkeypatch.setattr("nixdock.runtime.server._SECONDS_BETWEEN_CLEANUPS", 0.2)
    request = f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    tally = Tally()
    with listening(application(CATALOGUE, tally)) as actual, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(connect(tcp(actual), request * requests)).recv(1)
        assert tally.is_busy
        assert get(tcp(actual), "/v2/")[0] == 200
        end = time.monotonic() + 20
        while tally.idle_seconds() == 0 and time.monotonic() < end:
            time.sleep(0.05)
        assert tally.idle_seconds() > 0


def test_who_reads_slowly_is_not_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel asks for more only when a large part of what it has is gone."""
    monkeypatch.setattr("nixdock.runtime.channel.PATIENCE", 0.5)
    monkeypatch.setattr("nixdock.runtime.server._SECONDS_BETWEEN_CLEANUPS", 0.1)
    tally = Tally()
    with listening(application(CATALOGUE, tally)) as actual, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        client.settimeout(30)
        client.connect((tcp(actual).host, tcp(actual).port))
        client.sendall(f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        for _ in range(60):
            assert client.recv(1 << 14)
            time.sleep(0.05)
        assert tally.is_busy


class UnixConnection(http.client.HTTPConnection):
    """A connection to a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


def test_a_unix_socket(tmp_path: Path) -> None:
    place = UnixAddress(tmp_path / "socket")
    for _ in range(2):
        with listening(application(CATALOGUE), place) as address:
            assert address == place
            connection = UnixConnection(place.path)
            connection.request("GET", BLOB)
            assert sha256_digest(connection.getresponse().read()) == DIGEST
            connection.close()
            with (
                pytest.raises(InputError, match=r"can't listen on unix:.*: Address already in use"),
                listening(application(CATALOGUE), place),
            ):
                pass
        assert not place.path.exists()


def test_the_socket_of_a_killed_server_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with listening(application(CATALOGUE), UnixAddress(path)):
        # Whoever is there now keeps it.
        path.unlink()
        path.write_text("other")
    assert path.read_text() == "other"
    for place in (path, tmp_path / "none/socket", tmp_path / ("x" * 200)):
        with (
            pytest.raises(InputError, match="can't listen on unix:"),
            listening(application(CATALOGUE), UnixAddress(place)),
        ):
            pass
    assert path.read_text() == "other"


def test_tls_is_refused_at_once(address: ListenAddress) -> None:
    """Docker and Podman ask with HTTPS first."""
    with connect(address, bytes.fromhex("16030100c8010000c40303")) as client:
        assert received(client).startswith(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS")


def test_many_clients_at_once() -> None:
    tally = Tally()
    with (
        listening(application(CATALOGUE, tally)) as actual,
        ThreadPoolExecutor(20) as pool,
    ):
        address = tcp(actual)
        digests = pool.map(lambda _: hashlib.sha256(get(address, BLOB)[1]).hexdigest(), range(20))
        assert set(digests) == {DIGEST.removeprefix("sha256:")}
    assert tally.blobs == {DIGEST: 20 * len(LARGE)}


def test_addresses() -> None:
    assert parse_address("127.0.0.1:0") == LOOPBACK
    assert parse_address("[::1]:5000") == ListenAddress("::1", 5000)
    assert str(ListenAddress("::1", 5000)) == "[::1]:5000"
    local = ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"]
    assert all(parse_address(text).is_local for text in local)
    others = ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1"]
    assert not any(parse_address(text).is_local for text in others)
    unix = parse_address("unix:/run/a.sock")
    assert unix == UnixAddress(Path("/run/a.sock"))
    assert (str(unix), unix.is_local) == ("unix:/run/a.sock", True)
    for text in ("", "127.0.0.1", ":5000", "a b:1", "host:99999", "::1:5000", "host:x", "unix:"):
        with pytest.raises(InputError, match="is not an address: expected HOST:PORT"):
            parse_address(text)


def test_an_address_that_can_not_be_used() -> None:
    with listening(application(CATALOGUE)) as address:
        with (
            pytest.raises(InputError, match=rf"on {address}: Address already in use$"),
            listening(application(CATALOGUE), address),
        ):
            pass
        with (
            pytest.raises(InputError, match=r"^can't listen on 192\.0\.2\.1:0: "),
            listening(application(CATALOGUE), ListenAddress("192.0.2.1", 0)),
        ):
            pass
