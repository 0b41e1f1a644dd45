"""Certificates for loopback, of an authority that nobody trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

__all__ = ["server_context", "write_client", "write_root"]


def server_context(authority: trustme.CA, *, clients: trustme.CA | None = None) -> ssl.SSLContext:
    """Return a server's side; with `clients`, only clients with a certificate of theirs may in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "::1", "localhost").configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def write_root(authority: trustme.CA, file: Path) -> Path:
    """Write the authority's own certificate."""
    file.parent.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(file)
    return file


def write_client(authority: trustme.CA, directory: Path) -> None:
    """Write a client's certificate and key, as certs.d has them."""
    directory.mkdir(parents=True, exist_ok=True)
    issued = authority.issue_cert("client.example")
    issued.private_key_pem.write_to_path(directory / "client.key")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(directory / "client.cert", append=True)
