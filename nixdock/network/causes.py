"""Why there was no answer, or not all of it: what libraries and the system raise, in words."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from typing import Final, Literal

import urllib3.exceptions
from msgspec import Struct

from nixdock.network.answers import TooSlowError
from nixdock.network.redirects import Origin, shown_url
from nixdock.system.text import shown

__all__ = ["Cause", "Route", "cause_of"]

Kind = Literal[
    "proxy", "untrusted", "name", "refused", "slow", "silent", "headers", "broken", "tls", "other"
]

_PASSING: Final = frozenset({"slow", "silent", "broken"})
_BREAKS: Final = (
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    http.client.HTTPException,
    urllib3.exceptions.ProtocolError,
)


_TOO_LONG: Final = (http.client.LineTooLong, http.client.HTTPException)


class Route(Struct, frozen=True):
    """Where a connection leads: to an origin, perhaps by a proxy.

    `timeout` is how many seconds it may be silent. With `own_certificates`, those in the
    directories of container tools count.
    """

    origin: Origin
    timeout: float
    proxy: str | None = None
    own_certificates: bool = False

    @property
    def host(self) -> str:
        """The host with its port."""
        host = self.origin.host
        return f"{f'[{host}]' if ':' in host else host}:{self.origin.port}"


class Cause(Struct, frozen=True):
    """What went wrong: `kind` for programs, and `text` for people."""

    kind: Kind
    text: str

    @property
    def passing(self) -> bool:
        """Whether it may be otherwise the next time."""
        return self.kind in _PASSING


def cause_of(error: Exception, route: Route) -> Cause:
    """Return why a request failed. The text has nothing of the request, which may be secret."""
    chain = list(_chain(error))
    kind = _kind(chain)
    return Cause(kind, _text(kind, chain, route))


def _kind(chain: list[BaseException]) -> Kind:
    def has(*classes: type[BaseException]) -> bool:
        return any(isinstance(each, classes) for each in chain)

    kinds: list[tuple[Kind, bool]] = [
        ("proxy", has(urllib3.exceptions.ProxyError, urllib3.exceptions.ProxySchemeUnknown)),
        ("untrusted", has(ssl.SSLCertVerificationError, ssl.CertificateError)),
        ("name", has(socket.gaierror)),
        ("refused", has(ConnectionRefusedError)),
        ("slow", has(TooSlowError)),
        ("silent", has(TimeoutError, urllib3.exceptions.ReadTimeoutError)),
        # http.client has no class of its own for too many headers.
        ("headers", any(type(each) in _TOO_LONG for each in chain)),
        ("broken", has(*_BREAKS)),
        ("tls", has(ssl.SSLError, urllib3.exceptions.SSLError)),
    ]
    return next((kind for kind, applies in kinds if applies), "other")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and those that it comes from, each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        arguments = [other for other in each.args if isinstance(other, BaseException)]
        waiting += filter(None, [each.__cause__, each.__context__, *arguments])


def _text(kind: Kind, chain: list[BaseException], route: Route) -> str:
    host = route.host
    match kind:
        case "proxy":
            place = "" if route.proxy is None else f" {shown_url(route.proxy)}"
            return (
                f"the proxy{place} can't be used{_reason(chain)}; check HTTPS_PROXY, HTTP_PROXY and"
                " NO_PROXY"
            )
        case "untrusted":
            own = f", or put it into /etc/containers/certs.d/{host}"
            return (
                f"the certificate of {host} is not trusted{_reason(chain)}; name the file of its"
                f" authority in SSL_CERT_FILE{own if route.own_certificates else ''}, or"
                " accept any certificate with --insecure"
            )
        case "name" | "refused" | "slow" | "silent" | "headers":
            return {
                "name": f"there is no host {shown(route.origin.host)}: check the name, and the"
                " network's DNS",
                "refused": f"{host} refuses connections: check the host and port, and that it runs",
                "slow": f"{host} sent hardly anything for {route.timeout:g} seconds",
                "silent": f"{host} was silent for {route.timeout:g} seconds",
                "headers": f"the headers of what {host} answers are too long, or too many",
            }[kind]
        case "broken":
            return f"the connection to {host} broke{_reason(chain)}"
        case "tls":
            return (
                f"TLS with {host} fails{_reason(chain)}; if it speaks plain HTTP, allow that with"
                " --insecure"
            )
        case _:
            return f"{host} can't be reached{_reason(chain)}"


def _reason(chain: list[BaseException]) -> str:
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            return f" ({shown(each.verify_message)})"
        if isinstance(each, ssl.SSLError) and each.reason:
            return f" ({each.reason.lower().replace('_', ' ')})"
    for each in chain:
        # What urllib3 and http.client say of an error may have the URL in it.
        if isinstance(each, OSError) and each.strerror:
            return f" ({each.strerror})"
    return ""
