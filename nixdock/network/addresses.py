"""Which addresses a server may lead to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

__all__ = ["Address", "address_of", "is_local_name", "refused_address", "resolve"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Where clouds tell their machines secrets, besides the link-local 169.254.169.254.
_METADATA: Final = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "fd20:ce::254"))
)


def address_of(text: str) -> Address | None:
    """Return the IP address that a host is written as, or None if it is a name."""
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_local_name(host: str) -> bool:
    """Tell whether a host, without a port, is this machine by its name or address."""
    address = address_of(host)
    if address is not None:
        return address.is_loopback
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def resolve(host: str) -> frozenset[Address]:
    """Return the addresses of a host; none if it is not known here."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    texts = {str(each[4][0]) for each in found}
    return frozenset(filter(None, map(address_of, texts)))


def refused_address(addresses: Iterable[Address], *, from_local: bool) -> Address | None:
    """Return the first address that a server must not lead to, or None.

    Addresses of the link and of clouds' metadata services are always refused, and those of this
    machine unless the server itself runs here (`from_local`). Private networks are allowed, since
    registries there have their storage there.
    """
    for address in sorted(addresses, key=str):
        if address.is_link_local or address in _METADATA or address.is_multicast:
            return address
        if not from_local and (address.is_loopback or address.is_unspecified):
            return address
    return None
