"""A registry with images, while it serves them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field
from msgspec.structs import replace

from nixdock.runtime.app import application
from nixdock.runtime.catalogue import Offer, ServedName, UnsettledOffer, catalogue
from nixdock.runtime.listen_address import Address, ListenAddress
from nixdock.runtime.passwords import Passwords, for_users
from nixdock.runtime.server import listening
from nixdock.runtime.tally import Tally

if TYPE_CHECKING:
    import ssl

    from nixdock.runtime.settling import Settling

__all__ = ["Serving", "serving"]

log = logging.getLogger(__name__)

_POLL: Final = 0.2


def _nothing_to_settle() -> Future[None]:
    done: Future[None] = Future()
    done.set_result(None)
    return done


class Serving(Struct, frozen=True):
    """A registry at `address`, HOST:PORT or unix:PATH, and the references of the images in it.

    The references of a registry at a unix socket have no host.
    """

    address: str
    references: tuple[str, ...]
    tally: Tally
    settled: Future[None] = field(default_factory=_nothing_to_settle)

    def settle(self, seconds: float | None = None) -> None:
        """Return when the digests of all images are known, or after `seconds`.

        Raise what packing the layers raises.
        """
        if futures.wait([self.settled], seconds).done:
            self.settled.result()

    def wait(
        self,
        *,
        seconds: float | None = None,
        idle: float | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Return after `seconds`, or when nobody has asked for anything for `idle` seconds.

        Without either, wait for ever. A server whose images are not settled is not idle. Raise
        what packing their layers raises.
        """
        end = None if seconds is None else clock() + seconds
        while (end is None or clock() < end) and not (
            idle is not None and self.tally.idle_seconds() >= idle
        ):
            self.settle(0)
            sleep(_POLL)
        self.settle(0)


@contextmanager
def serving(
    offers: Sequence[Offer | UnsettledOffer],
    address: Address,
    tls: ssl.SSLContext | None = None,
    passwords: Passwords | None = None,
    settling: Settling | None = None,
) -> Iterator[Serving]:
    """Serve images until the block ends: with HTTPS if there is `tls`, and to users if there are.

    `settling` is what settles those of the images that are not settled. Raise InputError
    if one name stands for two of them, or if the address can't be used.
    """
    tally = Tally()
    # The host of requests through a unix socket is that of a server in front.
    is_open = isinstance(address, ListenAddress) and passwords is None and tls is None
    repositories = catalogue(offers)
    app = application(repositories, tally, local_only=is_open and address.is_local)
    if passwords is not None:
        app = for_users(app, passwords)
    if not address.is_local and passwords is None:
        log.warning("whoever can reach %s can read these images", address)
    elif not address.is_local and tls is None:
        log.warning("without TLS, whoever is on the way to %s can read the passwords", address)
    with ExitStack() as stack:
        actual = stack.enter_context(listening(app, address, tls))
        host = f"{actual}/" if isinstance(actual, ListenAddress) else ""
        references = tuple(
            f"{host}{_reference(offer, name)}" for offer in offers for name in offer.served_names()
        )
        served = Serving(str(actual), references, tally)
        if settling is not None:
            tally.begin()
            settling.done.add_done_callback(lambda _: tally.end())
            stack.enter_context(settling.into(repositories))
            served = replace(served, settled=settling.done)
        yield served


def _reference(offer: Offer | UnsettledOffer, name: ServedName) -> str:
    # The names of an image that is not settled have tags.
    if name.tag is None and isinstance(offer, Offer):
        return f"{name.repository}@{offer.manifest.digest}"
    return f"{name.repository}:{name.tag}"
