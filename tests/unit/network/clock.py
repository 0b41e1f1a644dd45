"""A clock that tests turn, so that nothing waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nixdock.network.retrying import Pace

__all__ = ["Clock"]


@dataclass
class Clock:
    """The time in seconds since 1970, which passes only by sleeping."""

    time: float = 1_700_000_000.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def now(self) -> float:
        return self.time

    def pace(self, **changes: Any) -> Pace:
        """Return a pace by this clock, without chance."""
        given = {"sleep": self.sleep, "now": self.now, "jitter": lambda: 1.0} | changes
        return Pace(**given)
