"""A registry with images, while it serves them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from nixdock.runtime.app import application
from nixdock.runtime.catalogue import Offer, catalogue
from nixdock.runtime.server import ListenAddress, listening
from nixdock.runtime.tally import Tally

__all__ = ["Serving", "serving"]

log = logging.getLogger(__name__)

_POLL: Final = 0.2


@dataclass(frozen=True, slots=True)
class Serving:
    """A registry at `address`, HOST:PORT, and the references of the images in it."""

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
def serving(offers: Sequence[Offer], address: ListenAddress) -> Iterator[Serving]:
    """Serve images until the block ends.

    Raise InputError if one name stands for two of them, or if the address can't be used.
    """
    tally = Tally()
    app = application(catalogue(offers), tally, local_only=address.is_local)
    if not address.is_local:
        log.warning("whoever can reach %s can read these images", address)
    with listening(app, address) as actual:
        references = (
            f"{actual}/{name.repository}"
            + (f"@{offer.manifest.digest}" if name.tag is None else f":{name.tag}")
            for offer in offers
            for name in offer.served_names()
        )
        yield Serving(str(actual), tuple(references), tally)
