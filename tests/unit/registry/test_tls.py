"""Registries are reached with HTTPS; who is trusted, and when plain HTTP will do."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from nixdock.errors import RegistryError
from nixdock.network.body import Body
from nixdock.network.tls import certificate_directory, tls_context
from nixdock.registry.blobs import upload_blob
from nixdock.registry.failures import Subject
from nixdock.registry.repository import Repository
from nixdock.registry.request import Request, Scope
from nixdock.registry.transport import Transport

from .authorities import server_context, write_client, write_root
from .fake_registry import FakeRegistry, Fault, digest_of, fake_registry
from .reaching import Clock, Login, reach

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE")
BLOB = f"/v2/x/blobs/{digest_of(b'data')}"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[FakeRegistry]:
    """A registry with a certificate of an authority that nobody trusts."""
    with fake_registry(tls=server_context(authority)) as registry:
        registry.add_blob("x", b"data")
        yield registry


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home directory of its own; nothing says what to trust."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def own(home: Path, registry: FakeRegistry) -> Path:
    return home / ".config/containers/certs.d" / registry.host


def get(transport: Transport) -> bytes:
    with transport.send(Request("GET", BLOB, Scope("x"))) as response:
        return response.whole(100)


def test_a_certificate_that_is_not_trusted_is_refused(secure: FakeRegistry) -> None:
    with pytest.raises(RegistryError) as caught:
        get(reach(secure, Login()))
    message = str(caught.value)
    assert f"the certificate of {secure.host} is not trusted (" in message
    for hint in ("SSL_CERT_FILE", f"/etc/containers/certs.d/{secure.host}", "--insecure"):
        assert hint in message
    assert secure.log == []


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "NIX_SSL_CERT_FILE"])
def test_variables_name_the_authorities(
    secure: FakeRegistry,
    authority: trustme.CA,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv(name, str(write_root(authority, home / "root.pem")))
    assert get(reach(secure)) == b"data"


def test_a_directory_of_authorities_has_their_hashes_as_names(
    secure: FakeRegistry, authority: trustme.CA, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    # OpenSSL hashes names in lower case, without the header of the outer sequence.
    names = [x509.NameAttribute(each.oid, str(each.value).lower()) for each in certificate.subject]
    encoded = x509.Name(names).public_bytes()
    assert encoded[1] < 128, "a longer header"
    number = int.from_bytes(hashlib.sha1(encoded[2:]).digest()[:4], "little")
    write_root(authority, home / "certs" / f"{number:08x}.0")
    monkeypatch.setenv("SSL_CERT_DIR", str(home / "certs"))
    assert get(reach(secure)) == b"data"


def test_the_first_variable_counts(
    secure: FakeRegistry, authority: trustme.CA, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(write_root(trustme.CA(), home / "other.pem")))
    monkeypatch.setenv("NIX_SSL_CERT_FILE", str(write_root(authority, home / "root.pem")))
    with pytest.raises(RegistryError, match="is not trusted"):
        get(reach(secure))


def test_what_builders_of_nix_set_is_no_file(
    secure: FakeRegistry, authority: trustme.CA, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no-cert-file.crt")
    monkeypatch.setenv("NIX_SSL_CERT_FILE", str(write_root(authority, home / "root.pem")))
    assert get(reach(secure)) == b"data"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file or directory"), ("nothing", "it has no certificates")],
)
def test_a_file_of_certificates_that_cannot_be_read_is_named(
    secure: FakeRegistry,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    reason: str,
) -> None:
    file = home / "root.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(RegistryError, match=f"SSL_CERT_FILE={file} can't be read: {reason}"):
        get(reach(secure))


def test_a_registry_may_have_an_authority_of_its_own(
    secure: FakeRegistry, authority: trustme.CA, home: Path
) -> None:
    write_root(authority, own(home, secure) / "ca.crt")
    assert get(reach(secure)) == b"data"


def test_a_client_shows_its_certificate(authority: trustme.CA, home: Path) -> None:
    clients = trustme.CA()
    with fake_registry(tls=server_context(authority, clients=clients)) as registry:
        registry.add_blob("x", b"data")
        write_root(authority, own(home, registry) / "ca.crt")
        with pytest.raises(RegistryError):
            get(reach(registry, attempts=1))
        write_client(clients, own(home, registry))
        assert get(reach(registry)) == b"data"
        (own(home, registry) / "client.key").unlink()
        with pytest.raises(RegistryError, match=r"client\.cert can't be read"):
            get(reach(registry))


def test_a_key_without_certificate_is_named(secure: FakeRegistry, home: Path) -> None:
    own(home, secure).mkdir(parents=True)
    (own(home, secure) / "client.key").touch()
    with pytest.raises(RegistryError, match=r"client\.key is the key of a certificate that is"):
        get(reach(secure))


def test_directories_of_certificates_are_those_of_podman_and_docker(home: Path) -> None:
    assert certificate_directory("r.example:5000", {"HOME": str(home)}) is None
    directory = home / ".config/containers/certs.d/r.example:5000"
    directory.mkdir(parents=True)
    assert certificate_directory("r.example:5000", {"HOME": str(home)}) == directory
    assert certificate_directory("r.example", {"HOME": str(home)}) is None


def test_insecure_accepts_any_certificate(secure: FakeRegistry) -> None:
    secure.accounts.kind = "basic"
    secure.accounts.passwords = {"alice": "secret-password"}
    assert get(reach(secure, Login(), insecure=True)) == b"data"


def test_certificates_are_verified_by_default() -> None:
    context = tls_context(Subject("r.example").error, {}, None)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("status", [403, 413])
def test_an_answer_that_comes_before_the_content_was_sent_is_read(
    secure: FakeRegistry, status: int
) -> None:
    """With TLS, it is another error that the connection was closed."""
    secure.faults = [Fault("PUT", status=status, early=True, times=9)]
    data = bytes(50 << 20)
    repository = Repository(reach(secure, insecure=True), "x")
    with pytest.raises(RegistryError, match=f"answers {status}") as caught:
        upload_blob(repository, digest_of(data), Body.of(data))
    assert caught.value.status == status
    assert len(secure.requests("PUT")) == 1


def test_https_is_not_left_by_redirects(secure: FakeRegistry, fake: FakeRegistry) -> None:
    for location in (f"http://{fake.host}{BLOB}", f"http://{secure.host}{BLOB}"):
        secure.faults = [Fault("GET", "/blobs/", status=307, headers={"Location": location})]
        with pytest.raises(RegistryError, match="it leads from HTTPS to plain HTTP"):
            get(reach(secure, insecure=True))
    assert fake.log == []


def test_the_realm_of_a_secure_registry_is_secure(secure: FakeRegistry, fake: FakeRegistry) -> None:
    secure.accounts.kind = "token"
    secure.accounts.realm = f"{fake.url}/token"
    with pytest.raises(RegistryError, match="has plain HTTP, by which no password may be sent"):
        get(reach(secure, Login(), insecure=True))
    assert fake.log == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
def test_plain_http_will_do_on_this_machine(address: str) -> None:
    with fake_registry(address) as registry:
        registry.add_blob("x", b"data")
        registry.accounts.kind = "basic"
        registry.accounts.passwords = {"alice": "secret-password"}
        assert get(reach(registry, Login())) == b"data"
        port = registry.host.rpartition(":")[2]
    if address == "127.0.0.1":
        with pytest.raises(RegistryError, match="refuses connections"):
            get(reach(f"localhost:{port}"))


@pytest.mark.parametrize("insecure", [False, True])
def test_plain_http_elsewhere_must_be_allowed(
    monkeypatch: pytest.MonkeyPatch, fake: FakeRegistry, insecure: bool
) -> None:
    fake.add_blob("x", b"data")
    real = socket.getaddrinfo

    def resolve(host: object, *rest: object, **more: object) -> object:
        return real("127.0.0.1" if host == "r.example" else host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    host = f"r.example:{fake.host.rpartition(':')[2]}"
    if insecure:
        assert get(reach(host, insecure=True)) == b"data"
    else:
        with pytest.raises(RegistryError, match="if it speaks plain HTTP, allow that with --insec"):
            get(reach(host))
        assert fake.log == []


def test_a_server_that_waits_for_plain_http_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer_plainly, args=(server,), daemon=True)
        thread.start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with reach(host, timeout=0.3).send(Request("GET", BLOB)) as response:
            assert response.whole(100) == b"ok"
        thread.join()


WANTS_HTTPS = [
    b"400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
    b"301 Moved Permanently\r\nLocation: https://r.example/v2/\r\n\r\n",
    b"426 Upgrade Required\r\n\r\n",
]


@pytest.mark.parametrize("plain_answer", WANTS_HTTPS)
@pytest.mark.parametrize("broken", [1, 4])
def test_a_broken_handshake_gives_no_encryption_up(
    authority: trustme.CA, plain_answer: bytes, broken: int
) -> None:
    """Neither because of one, nor if the server answers to plain HTTP that it has none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kinds: list[str] = []
        context = server_context(authority)
        arguments = (server, context, plain_answer, broken, kinds)
        thread = threading.Thread(target=_break_handshakes, args=arguments, daemon=True)
        thread.start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        clock = Clock()
        request = Request("GET", BLOB)
        with reach(host, clock=clock, insecure=True).send(request) as response:
            assert response.whole(100) == b"ok"
            assert response.url.startswith("https:")
        thread.join()
    assert kinds == {1: ["tls"] * 2, 4: [*["tls", "tls", "plain"] * 2, "tls"]}[broken]
    assert clock.slept == {1: [], 4: [2.0, 4.0]}[broken]


def _break_handshakes(
    server: socket.socket, context: ssl.SSLContext, plain: bytes, broken: int, kinds: list[str]
) -> None:
    """Break the first handshakes, and serve the connection with the next one."""
    while True:
        connection, _ = server.accept()
        with connection:
            if connection.recv(1, socket.MSG_PEEK) != b"\x16":
                kinds.append("plain")
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 " + plain)
                continue
            kinds.append("tls")
            if kinds.count("tls") <= broken:
                continue
            with context.wrap_socket(connection, server_side=True) as secure:
                for _ in range(2):
                    assert secure.recv(4096)
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return


def _answer_plainly(server: socket.socket) -> None:
    """Say nothing to the first connection, which is one of TLS, and serve the second one."""
    silent, _ = server.accept()
    connection, _ = server.accept()
    with silent, connection:
        for _ in range(2):
            assert connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
