"""When a request is sent again, and how long to wait before."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

from msgspec import Struct

from nixdock.errors import RemoteError

__all__ = ["TRANSIENT", "Pace", "Patience", "Setback", "persist", "retry_after"]

TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of answers that may be others the next time."""

_Result = TypeVar("_Result")


class Pace(Struct, frozen=True):
    """How long to wait between attempts, in seconds, and the clock that measures it.

    The first wait takes about `base`, each one twice as long as the last, and none more than
    `most`. When something has failed for `budget`, it is not tried again.
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


class Patience:
    """What is left of the attempts at something, whose parts may share them, and of their time.

    The time is the pace's budget, from the first failure on: what gets on may take longer.
    """

    def __init__(self, pace: Pace, attempts: int) -> None:
        self._pace = pace
        self._left = attempts
        self._waits = 0
        self._end: float | None = None

    def lasts(self, after: float | None = None, *, at_once: bool = False) -> bool:
        """Count a failure, and wait before the next attempt; without one, return False at once.

        `after` is how long the server asks to wait, in seconds. Nothing waits if `at_once` is set.
        """
        now = self._pace.now()
        if self._end is None:
            self._end = now + self._pace.budget
        self._left -= 1
        delay = 0.0 if at_once else self._pace.delay(self._waits + 1, after)
        if now + delay > self._end:
            # Nor is there time for a part that would wait less.
            self._left = 0
        if self._left <= 0:
            return False
        if not at_once:
            self._waits += 1
            self._pace.sleep(delay)
        return True


def persist(job: Callable[[], _Result], patience: Patience, *, retry: bool) -> _Result:
    """Return what `job` returns; raise the RemoteError of its last setback.

    Unless `retry` is set, it is called again only after setbacks that left everything untouched.
    """
    while True:
        try:
            return job()
        except Setback as setback:
            again = setback.passing and (retry or setback.untouched)
            if not (again and patience.lasts(setback.after)):
                setback.error.after = setback.after
                raise setback.error from None


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
