"""Why there was no answer, or not all of it: what libraries and the system raise, in words."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final, Literal

import urllib3.exceptions
from msgspec import Struct

from nixdock.network.answers import TooSlowError
from nixdock.network.redirects import Origin, shown_url
from nixdock.network.retrying import TRANSIENT
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
_TUNNEL: Final = re.compile(r"Tunnel connection failed: ([0-9]{3})\b", re.ASCII)
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
    """What went wrong: `kind` for programs, and `text` for people.

    `passing` says whether it may be otherwise the next time.
    """

    kind: Kind
    text: str
    passing: bool


def cause_of(error: Exception, route: Route) -> Cause:
    """Return why a request failed. The text has nothing of the request, which may be secret."""
    chain = list(_chain(error))
    kind = _kind(chain)
    passing = kind in _PASSING or (kind == "proxy" and _may_recover(chain))
    return Cause(kind, _text(kind, chain, route), passing)


def _may_recover(chain: list[BaseException]) -> bool:
    """Tell whether a proxy may do next time what it has not done."""
    status = _proxy_status(chain)
    if status is not None:
        return status in TRANSIENT
    return any(isinstance(each, (*_BREAKS, TimeoutError)) for each in chain)


def _proxy_status(chain: list[BaseException]) -> int | None:
    """Return the status with which a proxy refuses to connect, if it does.

    urllib3 and http.client have no error of its own for that.
    """
    found = (_TUNNEL.match(str(each)) for each in chain if isinstance(each, OSError))
    return next((int(match[1]) for match in found if match), None)


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
            return _proxy_text(chain, route)
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


def _proxy_text(chain: list[BaseException], route: Route) -> str:
    proxy = route.proxy or ""
    place = f" {shown_url(proxy)}" if proxy else ""
    status = _proxy_status(chain)
    reason = _reason(chain) if status is None else f": it answers {status}"
    if status == 407 and "@" in proxy:
        advice = "it refuses the username and the password in its URL"
    elif status == 407:
        advice = "it wants a username and a password in its URL"
    elif status == 403:
        advice = f"it allows no connections to {route.host}"
    elif status in TRANSIENT:
        advice = "try again later"
    else:
        advice = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    return f"the proxy{place} can't be used{reason}; {advice}"


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
