"""Names of registries and namespaces, as people write them and as credential files have them."""

from __future__ import annotations

import logging
import re
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError
from nixdock.oci.registry_reference import DOCKER_HUB
from nixdock.system.text import shown

__all__ = ["RegistryName", "checked_host"]

log = logging.getLogger(__name__)

_ALIASES: Final = {"index.docker.io": DOCKER_HUB, "registry-1.docker.io": DOCKER_HUB}
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST: Final = re.compile(
    rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?", re.ASCII
)
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAMESPACE: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_SCHEME: Final = re.compile(r"https?://", re.IGNORECASE)
_API: Final = re.compile(r"v[12]/?")


class RegistryName(Struct, frozen=True):
    """The host of a registry, with its port, and a repository or the start of one, or nothing."""

    host: str
    namespace: str = ""

    @classmethod
    def parse(cls, text: str) -> RegistryName:
        """Parse HOST[:PORT][/NAMESPACE]; a scheme is left out with a warning.

        Raise InputError, which quotes no part that may be a password, if it is not such a name.
        """
        if "@" in text:
            raise InputError(
                "the name of a registry contains no user name, password or digest: expected"
                " HOST[:PORT][/NAMESPACE]"
            )
        name = cls.of_key(text)
        scheme = _SCHEME.match(text)
        if scheme:
            rest = text[scheme.end() :].partition("/")[2]
            name = cls(name.host, "" if _API.fullmatch(rest) else rest.rstrip("/"))
        valid_namespace = not name.namespace or _NAMESPACE.fullmatch(name.namespace)
        if not _HOST.fullmatch(name.host) or not valid_namespace:
            raise InputError(
                f"{shown(text)!r} is not the name of a registry: expected HOST[:PORT][/NAMESPACE],"
                " for example ghcr.io"
            )
        if scheme:
            log.warning("the name of a registry contains no %s: using %s", scheme[0], name)
        return name

    @classmethod
    def of_key(cls, key: str, *, flat: bool = False) -> RegistryName:
        """Return what a key of a credential file names, which may be a URL, without checks.

        In a URL, and in the old `flat` files, the path is that of the API.
        """
        scheme = _SCHEME.match(key)
        host, _, path = key[scheme.end() if scheme else 0 :].partition("/")
        if scheme or flat or (path.endswith("/") and _API.fullmatch(path)):
            path = ""
        return cls(_canonical(host), path.rstrip("/"))

    def covers(self, other: RegistryName) -> bool:
        """Return whether `other` is this name or lies below it, on the same host and port."""
        same_host = self.host == other.host
        return same_host and f"{other.namespace}/".startswith(
            f"{self.namespace}/" if self.namespace else ""
        )

    def __str__(self) -> str:
        return f"{self.host}/{self.namespace}" if self.namespace else self.host


def checked_host(host: str) -> str:
    """Return HOST[:PORT] in lower case, docker.io for all names of Docker Hub.

    Raise InputError if `host` is anything else.
    """
    name = _canonical(host)
    if not _HOST.fullmatch(name):
        raise InputError(f"{shown(host)!r} is not the host of a registry: expected HOST[:PORT]")
    return name


def _canonical(host: str) -> str:
    host = host.lower()
    return _ALIASES.get(host, host)
