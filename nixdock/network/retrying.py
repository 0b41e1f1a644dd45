"""When a request is sent again, and how long to wait before."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

from msgspec import Struct

from nixdock.errors import RemoteError

__all__ = ["TRANSIENT", "Pace", "Setback", "persist", "retry_after"]

TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of answers that may be others the next time."""

_Result = TypeVar("_Result")


class Pace(Struct, frozen=True):
    """How long to wait between attempts, in seconds, and the clock that measures it.

    The first wait takes about `base`, each one twice as long as the last, and none more than
    `most`. After `budget`, nothing is tried again.
    """

    base: float = 2.0
    most: float = 60.0
    budget: float = 900.0
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    # Between 0 and 1, so that clients which failed together do not come back together.
    jitter: Callable[[], float] = random.random

    def delay(self, attempt: int, wanted: float | None = None) -> float:
        """Return how long to wait after an attempt; `wanted` is what the server asks for."""
        if wanted is not None:
            return min(self.most, max(0.0, wanted))
        longest = min(self.most, self.base * 2.0 ** (attempt - 1))
        return float(longest * (0.5 + self.jitter() / 2))


class Setback(Exception):  # noqa: N818 (it may pass, and is raised as `error` if it does not)
    """What stopped an attempt; `passing` says that another one may get further.

    `after` is how long the server asks to wait. `untouched` says that the server has not begun
    to do what was asked, so that it may be asked again whatever it was.
    """

    def __init__(
        self,
        error: RemoteError,
        *,
        passing: bool,
        after: float | None = None,
        untouched: bool = False,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.passing = passing
        self.after = after
        self.untouched = untouched


def persist(job: Callable[[], _Result], pace: Pace, attempts: int, *, retry: bool) -> _Result:
    """Return what `job` returns; raise the RemoteError of its last setback.

    Unless `retry` is set, it is called again only after setbacks that left everything untouched.
    """
    end = pace.now() + pace.budget
    for attempt in itertools.count(1):
        try:
            return job()
        except Setback as setback:
            delay = pace.delay(attempt, setback.after)
            again = setback.passing and (retry or setback.untouched) and attempt < attempts
            if not again or pace.now() + delay > end:
                raise setback.error from None
        pace.sleep(delay)
    raise AssertionError


def retry_after(header: str | None, now: float) -> float | None:
    """Return the seconds that Retry-After asks for, as a number or as a date, or None."""
    text = (header or "").strip()
    if not text:
        return None
    # isdecimal accepts the digits of all scripts.
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)
