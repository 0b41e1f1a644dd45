"""Where a server may send a client, and what goes along.

A registry answers with redirects to an object store, and with locations of uploads. Whatever they
say, the account's credentials and tokens only go to the server itself.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urldefrag, urljoin, urlsplit

from msgspec import Struct

__all__ = ["MOST_REDIRECTS", "Origin", "UnsafeTargetError", "joined", "next_target", "shown_url"]

MOST_REDIRECTS: Final = 10

_KEEP_METHOD: Final = frozenset({307, 308})
_MAY_CHANGE_METHOD: Final = frozenset({301, 302, 303})
# Parsers disagree on where a host ends that has one of these, and drop some of them elsewhere.
_AMBIGUOUS: Final = re.compile(r"[\\\x00-\x1f\x7f]|^[^/]*//[^/?#]*\s")
_PORTS: Final = {"https": 443, "http": 80}


class UnsafeTargetError(Exception):
    """A redirect or location is not followed; the text says why."""


class Origin(Struct, frozen=True):
    """The scheme, host and port of a URL: who it is that is asked."""

    scheme: str
    host: str
    port: int

    @staticmethod
    def of(url: str) -> Origin:
        """Return the origin of a URL; raise UnsafeTargetError unless it is one of HTTP."""
        return _origin_of(url)

    @property
    def place(self) -> str:
        """The host, with its port if that is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def leads_to(self, target: Origin) -> None:
        """Raise UnsafeTargetError if going on to `target` would give up encryption."""
        if (self.scheme, target.scheme) == ("https", "http"):
            raise UnsafeTargetError(f"it leads from HTTPS to plain HTTP, at {target.host}")


# Each step on the way of a request asks for the origin of the same URL.
@lru_cache(maxsize=64)
def _origin_of(url: str) -> Origin:
    if _AMBIGUOUS.search(url):
        raise UnsafeTargetError("it leads to an invalid URL")
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        raise UnsafeTargetError("it leads to an invalid URL") from None
    if split.scheme not in _PORTS or not split.hostname:
        raise UnsafeTargetError(f"it leads to {shown_url(url)}, which is not a URL of HTTP")
    if split.username is not None or split.password is not None:
        raise UnsafeTargetError(f"it leads to {shown_url(url)} with a username")
    return Origin(split.scheme, split.hostname, _PORTS[split.scheme] if port is None else port)


def next_target(method: str, status: int, location: str | None, url: str) -> str | None:
    """Return the URL that an answer redirects to, or None if it is no redirect.

    Raise UnsafeTargetError if the method would have to change: content would not be sent.
    """
    if location is None or status not in _KEEP_METHOD | _MAY_CHANGE_METHOD:
        return None
    if status in _MAY_CHANGE_METHOD and method not in {"GET", "HEAD"}:
        raise UnsafeTargetError(f"{method} is redirected with {status}, which loses the content")
    return joined(url, location)


def joined(url: str, location: str) -> str:
    """Return what a location, which may be relative, means in an answer of `url`.

    A fragment is left out, since it is never sent, nor is what follows it. Raise UnsafeTargetError
    if it is no URL.
    """
    try:
        return urldefrag(urljoin(url, location.strip())).url
    except ValueError:
        raise UnsafeTargetError("it leads to an invalid URL") from None


def shown_url(url: str) -> str:
    """Return a URL for messages: without the query, which may be signed, and without a user."""
    rest = url.partition("#")[0].partition("?")[0]
    scheme, separator, place = rest.partition("://")
    host, slash, path = place.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
