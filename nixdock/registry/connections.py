"""Connections to a registry and to the hosts that it leads to, over urllib3."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

import urllib3

from nixdock.errors import RegistryError
from nixdock.registry.access import Access
from nixdock.registry.addresses import is_local_name
from nixdock.registry.answers import Flow, Response
from nixdock.registry.causes import Cause, Route, cause_of
from nixdock.registry.failures import Subject
from nixdock.registry.proxies import proxy_of
from nixdock.registry.redirects import Origin, shown_url
from nixdock.registry.request import Body
from nixdock.registry.retrying import Setback
from nixdock.registry.tls import certificate_directory, tls_context

__all__ = ["Connections"]

_MOST_CONNECTIONS: Final = 8
_PIECE: Final = 1 << 18
_LONGEST_PROBE: Final = 10.0


class _NoAnswerError(Exception):
    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.text)
        self.cause = cause


class _WithoutQuery(logging.Filter):
    """Takes the queries of URLs, which may be signed, out of what urllib3 logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                shown_url(each) if isinstance(each, str) and "?" in each else each
                for each in record.args
            )
        return True


_WITHOUT_QUERY: Final = _WithoutQuery()


class Connections:
    """The connections to `host`, as `address` if that is another one, and beyond.

    Several threads may use them, and child processes, which get connections of their own.
    """

    def __init__(self, host: str, address: str, access: Access) -> None:
        self._host = host
        self.address = address
        self._access = access
        self._environment = dict(os.environ)
        self._root: str | None = None
        # How many requests were answered.
        self.answered = 0
        # Adding to a number is not atomic, so that threads would lose some.
        self._numbers = itertools.count(1)
        self._pools: dict[tuple[int, bool, str | None], urllib3.PoolManager] = {}
        self._locks: dict[int, threading.Lock] = {}
        self._name = Origin.of(f"https://{address}").host
        # This does nothing if it has the filter.
        logging.getLogger("urllib3.connectionpool").addFilter(_WITHOUT_QUERY)

    @property
    def is_local(self) -> bool:
        """Whether the registry runs on this machine, by its name."""
        return is_local_name(self._name)

    def is_proxied(self, origin: Origin) -> bool:
        """Whether connections to an origin are made by a proxy, which resolves its name."""
        return proxy_of(origin, self._environment) is not None

    def root(self, subject: Subject) -> str:
        """Return the registry's URL: with HTTPS, or with HTTP where that is allowed and needed."""
        if self._root is not None:
            return self._root
        # A lock that another thread held while this process was forked is never free again.
        with self._locks.setdefault(os.getpid(), threading.Lock()):
            if self._root is None:
                self._root = self._find_root(subject)
        return self._root

    def _find_root(self, subject: Subject) -> str:
        secure, plain = (f"{scheme}://{self.address}" for scheme in ("https", "http"))
        if not (self.is_local or self._access.insecure):
            return secure
        try:
            self._probe(secure, subject)
        except _NoAnswerError as error:
            cause = error.cause
        else:
            return secure
        if cause.kind == "untrusted":
            raise self._setback(cause, subject)
        try:
            self._probe(plain, subject)
        except _NoAnswerError as error:
            # That TLS failed says little about a host that does not speak HTTP either.
            raise self._setback(error.cause if cause.kind == "tls" else cause, subject) from None
        return plain

    def _probe(self, root: str, subject: Subject) -> None:
        timeout = min(_LONGEST_PROBE, self._access.timeout)
        self._ask("GET", f"{root}/v2/", {}, None, subject, timeout).close()

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, subject: Subject
    ) -> Response:
        """Send a request and return the answer, whatever its status; raise Setback if none comes.

        Redirects are not followed.
        """
        try:
            return self._ask(method, url, headers, body, subject, self._access.timeout)
        except _NoAnswerError as error:
            raise self._setback(error.cause, subject) from None

    @staticmethod
    def _setback(cause: Cause, subject: Subject) -> Setback:
        error = subject.error(cause.text, is_broken=cause.passing)
        return Setback(error, passing=cause.passing)

    def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        subject: Subject,
        timeout: float,
    ) -> Response:
        origin = Origin.of(url)
        route = Route(origin, timeout, proxy_of(origin, self._environment))
        sent = {"Accept-Encoding": "identity", "User-Agent": "nixdock", **headers}
        if body is not None:
            sent["Content-Length"] = str(body.size)

        def broken(error: Exception) -> RegistryError:
            cause = cause_of(error, route)
            return subject.error(cause.text, is_broken=cause.passing)

        try:
            raw = self._pool(origin, route.proxy).urlopen(
                method,
                url,
                body=None if body is None else _pieces(body, subject),
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=timeout,
            )
        except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:
            raise _NoAnswerError(cause_of(error, route)) from None
        self.answered = next(self._numbers)
        return Response(raw, url, subject, broken, Flow(timeout))

    def _pool(self, origin: Origin, proxy: str | None) -> urllib3.PoolManager:
        """Return the pool for an origin; certificates for the registry count only for its host."""
        own = origin.host == self._name
        key = (os.getpid(), own, proxy)
        pool = self._pools.get(key)
        return pool or self._pools.setdefault(key, self._new_pool(own, proxy))

    def _new_pool(self, own: bool, proxy: str | None) -> urllib3.PoolManager:
        insecure = own and self._access.insecure
        if insecure:
            # It would be said with every connection, to a user who asked for it.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        directory = certificate_directory(self._host, self._environment) if own else None
        context = tls_context(self._host, self._environment, directory, insecure=insecure)
        settings: dict[str, Any] = {
            "maxsize": _MOST_CONNECTIONS,
            "block": False,
            "blocksize": _PIECE,
            "ssl_context": context,
        }
        if proxy is None:
            return urllib3.PoolManager(**settings)
        parsed = urllib3.util.parse_url(proxy)
        given = urllib3.make_headers(proxy_basic_auth=unquote(parsed.auth)) if parsed.auth else {}
        return urllib3.ProxyManager(parsed._replace(auth=None).url, proxy_headers=given, **settings)


def _pieces(body: Body, subject: Subject) -> Iterator[bytes]:
    """Give exactly the bytes that the request announces: others would be taken for a new one."""
    left = body.size
    with body.open() as stream:
        while left:
            try:
                piece = stream.read(min(_PIECE, left))
            except OSError as error:
                # urllib3 would take it for an error of the connection.
                reason = error.strerror or str(error)
                raise subject.error(f"the content can't be read: {reason}") from None
            if not piece:
                raise subject.error(f"the content ends {left} bytes early")
            left -= len(piece)
            yield piece
