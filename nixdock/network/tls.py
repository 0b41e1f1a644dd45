"""Which certificates are trusted, and which one is shown to a server."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from nixdock.errors import RemoteError
from nixdock.system.presence import exists, is_directory

__all__ = ["About", "certificate_directory", "tls_context"]

About = Callable[[str], RemoteError]
"""What makes an error about a server from a message."""

# What builders and pure shells of Nix set, so that nothing is trusted by accident.
_NO_FILE: Final = "/no-cert-file.crt"
# Where distributions have their certificates, for an OpenSSL that looks elsewhere, as Nix's does.
_SYSTEM_FILES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def tls_context(
    about: About, environment: Mapping[str, str], own: Path | None, *, insecure: bool = False
) -> ssl.SSLContext:
    """Return the settings for connections to a host.

    `own` is the server's directory of certificates. If a file of certificates can't be read, raise
    what `about` makes of the message.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _trust_roots(context, about, environment)
    if own is not None:
        _use_own(context, about, own)
    return context


def _trust_roots(context: ssl.SSLContext, about: About, environment: Mapping[str, str]) -> None:
    variables = {
        name: environment[name]
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE")
        if environment.get(name, _NO_FILE) not in {"", _NO_FILE}
    }
    if "SSL_CERT_FILE" in variables:
        variables.pop("NIX_SSL_CERT_FILE", None)
    for name, value in variables.items():
        is_directory = name == "SSL_CERT_DIR"
        try:
            context.load_verify_locations(
                None if is_directory else value, value if is_directory else None
            )
        except OSError as error:
            raise _unreadable(about, f"{name}={value}", error) from None
    if variables.keys() & {"SSL_CERT_FILE", "NIX_SSL_CERT_FILE"}:
        return
    context.load_default_certs()
    if not context.cert_store_stats()["x509_ca"]:
        for file in filter(Path.is_file, map(Path, _SYSTEM_FILES)):
            context.load_verify_locations(file)
            return


def certificate_directory(host: str, environment: Mapping[str, str]) -> Path | None:
    """Return the first directory with certificates for a host, with its port if it has one."""
    parents = _certificate_parents(environment)
    return next((each / host for each in parents if is_directory(each / host)), None)


def _certificate_parents(environment: Mapping[str, str]) -> Iterator[Path]:
    if home := environment.get("HOME"):
        yield Path(home, ".config/containers/certs.d")
    yield Path("/etc/containers/certs.d")
    yield Path("/etc/docker/certs.d")


def _use_own(context: ssl.SSLContext, about: About, directory: Path) -> None:
    file = directory
    try:
        for file in sorted(directory.iterdir()):
            if file.suffix == ".crt":
                context.load_verify_locations(file)
            elif file.suffix == ".cert":
                context.load_cert_chain(file, file.with_suffix(".key"))
            elif file.suffix == ".key" and not exists(file.with_suffix(".cert")):
                raise about(
                    f"{file} is the key of a certificate that is missing:"
                    f" {file.with_suffix('.cert')}"
                )
    except OSError as error:
        raise _unreadable(about, str(file), error) from None


def _unreadable(about: About, what: str, error: OSError) -> RemoteError:
    reason = error.strerror or str(error)
    if isinstance(error, ssl.SSLError):
        reason = "it has no certificates, or a key that does not fit"
    return about(f"the certificates of {what} can't be read: {reason}")
