"""A registry with images, while it serves them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nixdock.runtime.app import application
from nixdock.runtime.catalogue import Offer, catalogue
from nixdock.runtime.listen_address import Address, ListenAddress
from nixdock.runtime.passwords import Passwords, for_users
from nixdock.runtime.server import listening
from nixdock.runtime.tally import Tally

if TYPE_CHECKING:
    import ssl

__all__ = ["Serving", "serving"]

log = logging.getLogger(__name__)

_POLL: Final = 0.2


@dataclass(frozen=True, slots=True)
class Serving:
    """A registry at `address`, HOST:PORT or unix:PATH, and the references of the images in it.

    The references of a registry at a unix socket have no host.
    """

    address: str
    references: tuple[str, ...]
    tally: Tally

    def wait(
        self,
        *,
        seconds: float | None = None,
        idle: float | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Return after `seconds`, or when nobody has asked for anything for `idle` seconds.

        Without either, wait for ever.
        """
        end = None if seconds is None else clock() + seconds
        while (end is None or clock() < end) and not (
            idle is not None and self.tally.idle_seconds() >= idle
        ):
            sleep(_POLL)


@contextmanager
def serving(
    offers: Sequence[Offer],
    address: Address,
    tls: ssl.SSLContext | None = None,
    passwords: Passwords | None = None,
) -> Iterator[Serving]:
    """Serve images until the block ends: with HTTPS if there is `tls`, and to users if there are.

    Raise InputError if one name stands for two of them, or if the address can't be used.
    """
    tally = Tally()
    # The host of requests through a unix socket is that of a server in front.
    is_open = isinstance(address, ListenAddress) and passwords is None and tls is None
    app = application(catalogue(offers), tally, local_only=is_open and address.is_local)
    if passwords is not None:
        app = for_users(app, passwords)
    if not address.is_local and passwords is None:
        log.warning("whoever can reach %s can read these images", address)
    elif not address.is_local and tls is None:
        log.warning("without TLS, whoever is on the way to %s can read the passwords", address)
    with listening(app, address, tls) as actual:
        host = f"{actual}/" if isinstance(actual, ListenAddress) else ""
        references = (
            f"{host}{name.repository}"
            + (f"@{offer.manifest.digest}" if name.tag is None else f":{name.tag}")
            for offer in offers
            for name in offer.served_names()
        )
        yield Serving(str(actual), tuple(references), tally)
