"""A token server for real registries: it signs what whoever has the password may do."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

__all__ = ["TokenServer", "token_server"]

SERVICE = "registry.example"
ISSUER = "tests"


@dataclass
class TokenServer:
    """Where it is, the certificate that its tokens can be verified with, and what was asked."""

    realm: str
    root: Path
    scopes: list[list[str]] = field(default_factory=list)
    # In seconds.
    life: int = 300

    @property
    def settings(self) -> dict[str, str]:
        """What a registry must know."""
        return {
            "realm": self.realm,
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": str(self.root),
        }


@contextmanager
def token_server(directory: Path, username: str, password: str) -> Iterator[TokenServer]:
    """Serve tokens on loopback; without the password, they allow nothing but to pull."""
    authority = trustme.CA()
    root = directory / "tokens.pem"
    authority.cert_pem.write_to_path(root)
    certificate = authority.issue_cert("tokens.example", key_type=trustme.KeyType.ECDSA)
    account = base64.b64encode(f"{username}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            if given and given != f"Basic {account}":
                self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "no"}]})
                return
            query = parse_qs(urlsplit(self.path).query)
            scopes = [word for each in query.get("scope", []) for word in each.split()]
            served.scopes.append(scopes)
            token = _token(certificate, scopes, bool(given), served.life)
            self._answer(200, {"token": token, "expires_in": served.life})

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = TokenServer(f"http://127.0.0.1:{server.server_address[1]}/token", root)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def _token(certificate: trustme.LeafCert, scopes: list[str], known: bool, life: int) -> str:
    """Return a JSON Web Token (RFC 7519), with its certificate, signed with ES256."""
    chain = [
        "".join(blob.bytes().decode().strip().splitlines()[1:-1])
        for blob in certificate.cert_chain_pems
    ]
    access = []
    for each in scopes:
        kind, _, rest = each.partition(":")
        name, _, actions = rest.rpartition(":")
        allowed = [action for action in actions.split(",") if known or action == "pull"]
        access.append({"type": kind, "name": name, "actions": allowed})
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": "someone" if known else "",
        "aud": SERVICE,
        # Clocks of one machine may still be rounded otherwise.
        "nbf": now - 10,
        "iat": now,
        "exp": now + life,
        "jti": str(time.time_ns()),
        "access": access,
    }
    parts = [{"typ": "JWT", "alg": "ES256", "x5c": chain}, claims]
    signed = ".".join(_encoded(json.dumps(each).encode()) for each in parts)
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    numbers = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(SHA256())))
    return f"{signed}.{_encoded(b''.join(each.to_bytes(32, 'big') for each in numbers))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
