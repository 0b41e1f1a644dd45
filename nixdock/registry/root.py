"""Where a registry is: with HTTPS, or with HTTP where that is allowed and needed."""

from __future__ import annotations

from typing import Final

from nixdock.network.connections import Connections, NoAnswerError, setback_of
from nixdock.network.subject import Settings, Subject

__all__ = ["Root"]

_LONGEST_PROBE: Final = 10.0


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
        try:
            self._probe(secure, subject)
        except NoAnswerError as error:
            cause = error.cause
        else:
            return secure
        if cause.kind == "untrusted":
            raise setback_of(cause, subject)
        try:
            self._probe(plain, subject)
        except NoAnswerError as error:
            # That TLS failed says little about a host that does not speak HTTP either.
            raise setback_of(error.cause if cause.kind == "tls" else cause, subject) from None
        return plain

    def _probe(self, root: str, subject: Subject) -> None:
        timeout = min(_LONGEST_PROBE, self._settings.timeout)
        self._connections.ask("GET", f"{root}/v2/", {}, None, subject, timeout).close()
