"""Connections to a server and to the hosts that it leads to, over urllib3."""

from __future__ import annotations

import itertools
import logging
import math
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import urllib3

from nixdock.errors import NixdockError, RemoteError
from nixdock.network.addresses import is_local_name
from nixdock.network.answers import Flow, Response, TooSlowError
from nixdock.network.body import Body, ContentError
from nixdock.network.causes import Cause, Route, cause_of
from nixdock.network.pools import POOLS, watch_of
from nixdock.network.proxies import proxy_of
from nixdock.network.redirects import Origin, UnsafeTargetError, shown_url
from nixdock.network.retrying import Setback
from nixdock.network.subject import Settings, Subject
from nixdock.network.tls import About, certificate_directory, tls_context

if TYPE_CHECKING:
    import ssl

__all__ = ["Connections", "NoAnswerError", "setback_of"]

_MOST_KEPT: Final = 8
_PIECE: Final = 1 << 18
# A URL of which all parsers make the same, with its path.
_PLAIN: Final = re.compile(
    r"https?://[a-z0-9.-]+(?::[0-9]+)?((?:/[\w~:@+=,-][\w.~:@+=,-]*)+)", re.ASCII
)

_Pool = urllib3.PoolManager | urllib3.HTTPConnectionPool


class NoAnswerError(Exception):
    """No answer came; `cause` says why."""

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
    """The connections to `host`, a name or address without a port, and beyond.

    Several threads may use them, and child processes, which get connections of their own.
    `certificates` is the name of directories that may have certificates of that host alone, and
    `about` makes errors about it. Up to `most_kept` connections to each host are kept.
    """

    def __init__(
        self,
        host: str,
        settings: Settings,
        about: About,
        certificates: str | None = None,
        most_kept: int = _MOST_KEPT,
    ) -> None:
        self.host = host
        self._settings = settings
        self._about = about
        self._certificates = certificates
        self._most_kept = most_kept
        self._environment = dict(os.environ)
        # How many requests were answered.
        self.answered = 0
        # The shortest time that an answer took to come, in seconds.
        self.quickest = math.inf
        # Adding to a number is not atomic, so that threads would lose some.
        self._numbers = itertools.count(1)
        self._pools: dict[tuple[int, bool, bool, str | None], urllib3.PoolManager] = {}
        # The server's own, by process and origin.
        self._own_pools: dict[tuple[int, Origin], urllib3.HTTPConnectionPool] = {}
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._locks: dict[int, threading.Lock] = {}
        # This does nothing if it has the filter.
        logging.getLogger("urllib3.connectionpool").addFilter(_WITHOUT_QUERY)

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine, by its name."""
        return is_local_name(self.host)

    def is_proxied(self, origin: Origin) -> bool:
        """Whether connections to an origin are made by a proxy, which resolves its name."""
        return proxy_of(origin, self._environment) is not None

    def lock(self) -> threading.Lock:
        """Return the lock of this process.

        One that another thread held while the process was forked would never be free again.
        """
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, subject: Subject
    ) -> Response:
        """Send a request and return the answer, whatever its status; raise Setback if none comes.

        Redirects are not followed.
        """
        try:
            return self.ask(method, url, headers, body, subject, self._settings.timeout)
        except NoAnswerError as error:
            raise setback_of(error.cause, subject) from None

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        subject: Subject,
        timeout: float,
    ) -> Response:
        """Do the same; raise NoAnswerError after `timeout` seconds, or for any other reason."""
        origin = Origin.of(url)
        has_own = self._certificates is not None
        route = Route(origin, timeout, proxy_of(origin, self._environment), has_own)
        sent = {"Accept-Encoding": "identity", "User-Agent": "nixdock", **headers}
        if body is not None:
            sent["Content-Length"] = str(body.size)

        def broken(error: Exception) -> RemoteError:
            cause = cause_of(error, route)
            return subject.error(cause.text, is_broken=cause.passing)

        begin = time.monotonic()
        try:
            pool, target = self._pool_and_target(url, origin, route.proxy)
            raw = pool.urlopen(
                method,
                target,
                body=None if body is None else _pieces(body, subject),
                headers=sent,
                redirect=False,
                retries=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                timeout=timeout,
            )
        except (urllib3.exceptions.HTTPError, TooSlowError, ValueError, OSError) as error:
            raise NoAnswerError(cause_of(error, route)) from None
        self.quickest = min(self.quickest, time.monotonic() - begin)
        self.answered = next(self._numbers)
        return Response(raw, url, subject, broken, Flow(timeout), watch_of(raw).begin)

    def _pool_and_target(self, url: str, origin: Origin, proxy: str | None) -> tuple[_Pool, str]:
        """Return what sends a request for a URL, and what it is to ask for.

        The pool of all hosts parses each URL, and looks for the host's own pool, which takes a
        fifth of the time of a small answer. The server itself needs none of that, unless its URL
        has something to be encoded, or left out.
        """
        shared = self._pool(origin, proxy)
        path = _PLAIN.fullmatch(url)
        if path is None or proxy is not None or origin.host != self.host:
            _check_meaning(url, origin)
            return shared, url
        key = (os.getpid(), origin)
        own = self._own_pools.get(key)
        if own is None:
            found = shared.connection_from_host(origin.host, origin.port, origin.scheme)
            own = self._own_pools.setdefault(key, found)
        return own, path[1]

    def _pool(self, origin: Origin, proxy: str | None) -> urllib3.PoolManager:
        """Return the pool for an origin; certificates for the server count only for its host."""
        own = origin.host == self.host
        secure = origin.scheme == "https" or (proxy or "").startswith("https:")
        key = (os.getpid(), own, secure, proxy)
        pool = self._pools.get(key)
        return pool or self._pools.setdefault(key, self._new_pool(own, secure, proxy))

    def _context(self, own: bool) -> ssl.SSLContext:
        """Return what TLS needs, which takes longer to make than most answers take to come.

        Processes that are forked later share it.
        """
        context = self._contexts.get(own)
        if context is not None:
            return context
        insecure = own and self._settings.insecure
        if insecure:
            # It would be said with every connection, to a user who asked for it.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        directory = None
        if own and self._certificates is not None:
            directory = certificate_directory(self._certificates, self._environment)
        context = tls_context(self._about, self._environment, directory, insecure=insecure)
        return self._contexts.setdefault(own, context)

    def _new_pool(self, own: bool, secure: bool, proxy: str | None) -> urllib3.PoolManager:
        settings: dict[str, Any] = {
            "maxsize": self._most_kept,
            "block": False,
            "blocksize": _PIECE,
            **({"ssl_context": self._context(own)} if secure else {}),
        }
        if proxy is None:
            return _with_own_pools(urllib3.PoolManager(**settings))
        try:
            parsed = urllib3.util.parse_url(proxy)
        except urllib3.exceptions.LocationParseError:
            # The text of this error is the URL, which may have a password.
            invalid = ValueError("its URL is not valid")
            raise urllib3.exceptions.ProxyError("", invalid) from invalid
        given = urllib3.make_headers(proxy_basic_auth=unquote(parsed.auth)) if parsed.auth else {}
        url = parsed._replace(auth=None).url
        return _with_own_pools(urllib3.ProxyManager(url, proxy_headers=given, **settings))


def _with_own_pools(pool: urllib3.PoolManager) -> urllib3.PoolManager:
    pool.pool_classes_by_scheme = POOLS
    return pool


def _check_meaning(url: str, origin: Origin) -> None:
    """Raise UnsafeTargetError if urllib3 would connect to another host than was checked."""
    try:
        host = urllib3.util.parse_url(url).host or ""
    except urllib3.exceptions.LocationParseError:
        # There is no host to connect to, as it will say itself.
        return
    if origin.host.isascii() and host.strip("[]").lower() != origin.host:
        raise UnsafeTargetError("it leads to an invalid URL")


def setback_of(cause: Cause, subject: Subject) -> Setback:
    """Return what stopped an attempt for which no answer came."""
    error = subject.error(cause.text, is_broken=cause.passing)
    return Setback(error, passing=cause.passing)


def _pieces(body: Body, subject: Subject) -> Iterator[bytes]:
    """Give exactly the bytes that the request announces: others would be taken for a new one.

    Raise ContentError if they can't be read: other errors would be taken for those of the
    connection, or of the answer.
    """
    left = body.size
    try:
        with body.open() as stream:
            while left:
                piece = stream.read(min(_PIECE, left))
                if not piece:
                    raise subject.error(f"the content ends {left} bytes early")
                left -= len(piece)
                yield piece
    except NixdockError as error:
        raise ContentError(error) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ContentError(subject.error(f"the content can't be read: {reason}")) from None
