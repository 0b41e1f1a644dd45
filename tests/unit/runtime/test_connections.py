"""Connections that ask for nothing leave descriptors for what is served."""

from __future__ import annotations

import os
import resource
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from nixdock.runtime import connections
from nixdock.runtime.app import application
from nixdock.runtime.connections import most_connections
from nixdock.runtime.listen_address import ListenAddress
from nixdock.runtime.server import listening
from nixdock.runtime.tls_front import server_context
from tests.unit.runtime.test_server import BLOB, CATALOGUE, LARGE, get, tcp
from tests.unit.runtime.test_tls_front import get as get_safely

CLIENTS = """\
import resource, socket, ssl, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
host, port, number, *trusted = sys.argv[1:]
context = ssl.create_default_context(cafile=trusted[0]) if trusted else None
held = []
for _ in range(int(number)):
    held.append(socket.create_connection((host, int(port)), timeout=10))
    if context is not None:
        held[-1] = context.wrap_socket(held[-1], server_hostname=host)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def descriptors(most: int) -> Iterator[None]:
    """Allow this process as many descriptors as it has, and `most` more, until the block ends."""
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


@contextmanager
def silent_clients(address: ListenAddress, number: int, *trusted: Path) -> Iterator[None]:
    """Let another process have connections that ask for nothing until the block ends."""
    words = map(str, (address.host, address.port, number, *trusted))
    argv = [sys.executable, "-c", CLIENTS, *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            yield
        finally:
            process.communicate()


def check_spare() -> None:
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(Path(__file__).open("rb"))


def test_clients_that_ask_for_nothing() -> None:
    """macOS allows 256 descriptors, as long as nobody asks for more."""
    with (
        descriptors(200),
        listening(application(CATALOGUE)) as actual,
        silent_clients(tcp(actual), 250),
    ):
        assert get(tcp(actual), BLOB)[1] == LARGE
        check_spare()


def test_clients_that_ask_for_nothing_with_https(tmp_path: Path) -> None:
    """Each takes more descriptors; Linux usually allows 1024."""
    authority, ca = trustme.CA(), tmp_path / "ca.pem"
    own = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(ca))
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    tls = server_context(tmp_path / "cert.pem", tmp_path / "key.pem")
    client = ssl.create_default_context(cafile=str(ca))
    with (
        descriptors(400),
        listening(application(CATALOGUE), tls=tls) as actual,
        silent_clients(tcp(actual), 150, ca),
    ):
        assert get_safely(tcp(actual), client, BLOB)[1] == LARGE
        check_spare()


def test_how_many_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def limit(soft: int) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, resource.RLIM_INFINITY))

    monkeypatch.setattr(os, "listdir", lambda _: ["0", "1", "2", "3"])
    limit(1024)
    assert (most_connections(2), most_connections(4)) == (400, 223)
    limit(1 << 20)
    assert most_connections(4) == connections.MOST_CONNECTIONS
    limit(resource.RLIM_INFINITY)
    assert most_connections(4) == connections.MOST_CONNECTIONS
    limit(64)
    assert most_connections(2) == 8
