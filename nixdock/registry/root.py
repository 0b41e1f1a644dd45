"""Where a registry is: with HTTPS, or with HTTP where that is allowed and needed."""

from __future__ import annotations

from typing import Final

from nixdock.network.answers import Response
from nixdock.network.causes import Cause
from nixdock.network.connections import Connections, NoAnswerError, setback_of
from nixdock.network.subject import Settings, Subject

__all__ = ["Root"]

_LONGEST_PROBE: Final = 10.0
_NOT_PLAIN: Final = frozenset({400, 426})


class Root:
    """The URL of the registry at `address`, which is found out once."""

    def __init__(self, address: str, connections: Connections, settings: Settings) -> None:
        self._address = address
        self._connections = connections
        self._settings = settings
        self._url: str | None = None

    def url(self, subject: Subject) -> str:
        """Return the URL; raise Setback if there is no registry."""
        if self._url is not None:
            return self._url
        with self._connections.lock():
            if self._url is None:
                self._url = self._find(subject)
        return self._url

    def _find(self, subject: Subject) -> str:
        secure, plain = (f"{scheme}://{self._address}" for scheme in ("https", "http"))
        if not (self._connections.is_local or self._settings.insecure):
            return secure
        cause = self._why_not(secure, subject)
        if cause is not None and cause.kind == "broken":
            # That may be the network's fault, which says nothing about the registry.
            cause = self._why_not(secure, subject)
        if cause is None:
            return secure
        if cause.kind == "untrusted":
            raise setback_of(cause, subject)
        try:
            with self._probe(plain, subject) as response:
                if _wants_https(response):
                    raise setback_of(cause, subject)
        except NoAnswerError as error:
            # That TLS failed says little about a host that does not speak HTTP either.
            raise setback_of(error.cause if cause.kind == "tls" else cause, subject) from None
        return plain

    def _why_not(self, root: str, subject: Subject) -> Cause | None:
        """Return why there is no answer from a root, or None if there is one."""
        try:
            self._probe(root, subject).close()
        except NoAnswerError as error:
            return error.cause
        return None

    def _probe(self, root: str, subject: Subject) -> Response:
        timeout = min(_LONGEST_PROBE, self._settings.timeout)
        return self._connections.ask("GET", f"{root}/v2/", {}, None, subject, timeout)


def _wants_https(response: Response) -> bool:
    """Tell whether an answer to plain HTTP only says, as web servers do, that it has to be HTTPS.

    It may be a redirect, or "Client sent an HTTP request to an HTTPS server".
    """
    if 300 <= response.status < 400:
        return response.headers.get("Location", "").strip().lower().startswith("https:")
    return response.status in _NOT_PLAIN
