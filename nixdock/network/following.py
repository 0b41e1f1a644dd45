"""Sending a request to where it is redirected."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from nixdock.network.addresses import address_of, is_local_name, refused_address, resolve
from nixdock.network.answers import Response
from nixdock.network.body import Body
from nixdock.network.redirects import MOST_REDIRECTS, Origin, UnsafeTargetError, next_target
from nixdock.network.subject import Subject
from nixdock.system.text import shown

if TYPE_CHECKING:
    from nixdock.network.connections import Connections

__all__ = ["Outgoing", "check_target", "follow"]


class Outgoing(Struct, frozen=True):
    """A request to one URL; its Authorization is none of its headers, which go wherever it leads.

    Raise ValueError if it is one of them.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: Body | None
    subject: Subject

    def __post_init__(self) -> None:
        if any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("an Authorization would go wherever the request is redirected")


def follow(
    connections: Connections,
    outgoing: Outgoing,
    home: Origin,
    header: str | None,
    expected: Container[int] = (),
) -> Response:
    """Send a request where it is redirected to, and return the answer, whatever its status.

    `header` is the Authorization, which only goes to its `home`. A redirect whose status is
    `expected` is an answer. Raise UnsafeTargetError for a redirect that is not followed, and what
    `exchange` raises.
    """
    for _ in range(MOST_REDIRECTS + 1):
        at = Origin.of(outgoing.url)
        if at != home:
            # Not even if it leads back: the one who redirects could choose what is done.
            header = None
        given = {} if header is None else {"Authorization": header}
        response = connections.exchange(
            outgoing.method,
            outgoing.url,
            {**outgoing.headers, **given},
            outgoing.body,
            outgoing.subject,
        )
        location = response.headers.get("Location")
        if response.status in expected:
            return response
        try:
            target = next_target(outgoing.method, response.status, location, outgoing.url)
            if target is None:
                return response
            check_target(connections, at, Origin.of(target))
        except UnsafeTargetError:
            response.close()
            raise
        response.close()
        outgoing = replace(outgoing, url=target)
    raise UnsafeTargetError(f"there are more than {MOST_REDIRECTS} redirects")


def check_target(connections: Connections, at: Origin, target: Origin) -> None:
    """Raise UnsafeTargetError if something must not lead from one origin to another."""
    at.leads_to(target)
    if target.host in {at.host, connections.host}:
        return
    if connections.is_proxied(target):
        address = address_of(target.host)
        addresses = frozenset() if address is None else frozenset({address})
    else:
        addresses = resolve(target.host)
        if not addresses:
            # What is connected to might find some.
            raise UnsafeTargetError(
                f"it leads to {shown(target.host)}, and there is no such host: check the network's"
                " DNS"
            )
    from_local = connections.is_local
    refused = refused_address(addresses, from_local=from_local)
    if refused is not None or (not from_local and is_local_name(target.host)):
        what = f" ({refused})" if refused is not None and str(refused) != target.host else ""
        raise UnsafeTargetError(
            f"it leads to {target.host}{what}, an address for this machine or network alone"
        )
