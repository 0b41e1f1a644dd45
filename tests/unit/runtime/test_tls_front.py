"""HTTPS: what is served is the same, and clients do not hold each other up."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from nixdock.errors import InputError
from nixdock.oci.descriptor import Blob
from nixdock.oci.digests import sha256_digest
from nixdock.runtime import connections, tls_front
from nixdock.runtime.app import application
from nixdock.runtime.catalogue import Document, Offer, catalogue
from nixdock.runtime.listen_address import ListenAddress
from nixdock.runtime.listening import Listening
from nixdock.runtime.server import listening
from nixdock.runtime.tally import Tally
from tests.unit.runtime.test_server import other_threads, tcp

# More than the buffers of all sockets on the way take.
LARGE = bytes(1 << 20) * 24
DIGEST = sha256_digest(LARGE)
MANIFEST = Blob("application/vnd.oci.image.manifest.v1+json", b"{}")
CATALOGUE = catalogue(
    [Offer(("a:1",), MANIFEST, {MANIFEST.digest: MANIFEST}, {DIGEST: Document(LARGE)})]
)
BLOB = f"/v2/a/blobs/{DIGEST}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.pem, cert.pem and key.pem."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    own.private_key_pem.write_to_path(str(directory / "key.pem"))
    with (directory / "cert.pem").open("wb") as file:
        for part in own.cert_chain_pems:
            file.write(part.bytes())
    return directory


@pytest.fixture(scope="module")
def server(files: Path) -> ssl.SSLContext:
    return tls_front.server_context(files / "cert.pem", files / "key.pem")


@pytest.fixture(scope="module")
def client(files: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(files / "ca.pem"))


@pytest.fixture
def address(server: ssl.SSLContext) -> Iterator[ListenAddress]:
    with listening(application(CATALOGUE), tls=server) as address:
        yield tcp(address)


def get(address: ListenAddress, client: ssl.SSLContext, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection(address.host, address.port, context=client, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def connect(address: ListenAddress) -> socket.socket:
    return socket.create_connection((address.host, address.port), timeout=30)


def greeted(address: ListenAddress, client: ssl.SSLContext) -> ssl.SSLSocket:
    return client.wrap_socket(connect(address), server_hostname="127.0.0.1")


def test_it_serves_and_then_is_gone(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    threads = set(threading.enumerate())
    with listening(application(CATALOGUE), tls=server) as actual:
        address = tcp(actual)
        assert get(address, client, "/v2/") == (200, b"{}")
        status, data = get(address, client, BLOB)
        assert (status, sha256_digest(data)) == (200, DIGEST)
        silent = connect(address)
        stuck = greeted(address, client)
        stuck.sendall(f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        stuck.recv(1)
    assert other_threads() <= threads
    with pytest.raises(OSError, match="refused"):
        connect(address)
    silent.close()
    stuck.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_one_connection_for_many_requests(address: ListenAddress, client: ssl.SSLContext) -> None:
    connection = http.client.HTTPSConnection(address.host, address.port, context=client, timeout=30)
    for _ in range(3):
        connection.request("GET", "/v2/a/tags/list")
        assert connection.getresponse().read() == b'{"name":"a","tags":["1"]}'
    connection.close()


def test_many_clients_at_once(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    tally = Tally()
    with (
        listening(application(CATALOGUE, tally), tls=server) as address,
        ThreadPoolExecutor(8) as pool,
    ):
        found = pool.map(lambda _: get(tcp(address), client, BLOB)[1], range(10))
        assert {sha256_digest(data) for data in found} == {DIGEST}
    assert tally.blobs == {DIGEST: 10 * len(LARGE)}


def test_clients_that_do_not_read_hold_nobody_up(
    address: ListenAddress, client: ssl.SSLContext
) -> None:
    request = f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as stack:
        # More than the server has threads.
        for _ in range(20):
            stuck = stack.enter_context(greeted(address, client))
            stuck.sendall(request)
            stuck.recv(1)
        assert sha256_digest(get(address, client, BLOB)[1]) == DIGEST


def test_clients_without_a_handshake_make_room(
    server: ssl.SSLContext, client: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 4)
    with listening(application(CATALOGUE), tls=server) as address, ExitStack() as stack:
        silent = [stack.enter_context(connect(tcp(address))) for _ in range(12)]
        assert get(tcp(address), client, "/v2/")[0] == 200
        assert silent[0].recv(1) == b""


def test_clients_with_half_a_request_make_room(
    server: ssl.SSLContext, client: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 6)
    with listening(application(CATALOGUE), tls=server) as address, ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(greeted(tcp(address), client)).sendall(b"GET /v2/ HTTP/1.1\r\n")
        assert get(tcp(address), client, "/v2/")[0] == 200


@pytest.mark.parametrize(
    "data", [b"GET /v2/ HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\0" * 4096]
)
def test_what_is_not_tls(address: ListenAddress, client: ssl.SSLContext, data: bytes) -> None:
    with connect(address) as other:
        other.sendall(data)
        with suppress(ConnectionResetError):
            assert not other.recv(100).startswith(b"HTTP")
    assert get(address, client, "/v2/")[0] == 200


def test_old_versions_and_new_keys_are_refused(server: ssl.SSLContext) -> None:
    assert server.minimum_version is ssl.TLSVersion.TLSv1_2
    assert ssl.OP_NO_RENEGOTIATION in server.options


def test_a_key_from_a_pipe(files: Path, tmp_path: Path) -> None:
    """As of `<(pass show key)` in a shell, which can be read once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[(files / "key.pem").read_bytes()])
    writer.start()
    listening = Listening("127.0.0.1:0", files / "cert.pem", pipe)
    assert listening.context() is not None
    writer.join()
    writer = threading.Thread(target=pipe.write_bytes, args=[b""])
    writer.start()
    with pytest.raises(InputError, match=r"are not a certificate and its key, in PEM$"):
        listening.context()
    writer.join()


def test_files_that_can_not_be_used(files: Path, tmp_path: Path) -> None:
    def context(cert: Path | None, key: Path | None) -> object:
        return Listening("127.0.0.1:0", cert, key).context()

    cert, key = files / "cert.pem", files / "key.pem"
    assert context(None, None) is None
    with pytest.raises(InputError, match="belong together"):
        context(cert, None)
    with pytest.raises(InputError, match=r"can't read .*none: No such file"):
        context(cert, tmp_path / "none")
    with pytest.raises(InputError, match="are not a certificate and its key, in PEM"):
        context(cert, cert)
    text = tmp_path / "text"
    text.write_text("no certificate")
    with pytest.raises(InputError, match=r"are not a certificate and its key, in PEM$"):
        context(text, text)
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(str(other))
    with pytest.raises(InputError, match="key values mismatch"):
        context(cert, other)
    encrypted = load_pem_private_key(key.read_bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    other.write_bytes(encrypted)
    with pytest.raises(InputError, match="is encrypted; give a key without a password"):
        context(cert, other)
