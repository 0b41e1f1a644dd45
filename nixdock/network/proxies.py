"""Which proxy leads to a host: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final

from nixdock.network.addresses import address_of, is_local_name
from nixdock.network.redirects import Origin

__all__ = ["proxy_of"]

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# An IPv6 address without brackets has no port.
_WITH_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:]*):([^:]*)")


def proxy_of(origin: Origin, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for an origin, or None; this machine needs none."""
    if is_local_name(origin.host) or _is_excluded(origin, _variable("no_proxy", environment)):
        return None
    proxy = _variable(f"{origin.scheme}_proxy", environment)
    proxy = proxy or _variable("all_proxy", environment)
    if not proxy:
        return None
    return proxy if _SCHEME.match(proxy) else f"http://{proxy}"


def _variable(name: str, environment: Mapping[str, str]) -> str:
    """Return the value of a variable, of which that in lower case counts even if it is empty."""
    return environment.get(name, environment.get(name.upper(), "")).strip()


def _is_excluded(origin: Origin, no_proxy: str) -> bool:
    return any(_is_named(origin, each) for each in re.split(r"[\s,]+", no_proxy) if each)


def _is_named(origin: Origin, pattern: str) -> bool:
    """Tell whether a pattern names an origin: `*`, an address, a network, or a domain."""
    if pattern == "*":
        return True
    address = address_of(origin.host)
    if address is not None and "/" in pattern:
        try:
            return address in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    if match := _WITH_PORT.fullmatch(pattern):
        pattern = match[1]
        if match[2] != str(origin.port):
            return False
    if address is not None and address_of(pattern) is not None:
        return address_of(pattern) == address
    domain = pattern.lower().removeprefix("*").strip(".")
    host = origin.host.lower().rstrip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))
