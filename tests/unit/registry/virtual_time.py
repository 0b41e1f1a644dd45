"""Clients that run at the same time by a clock of their own, one step after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from nixdock.network.answers import Response
from nixdock.network.retrying import Pace, Patience
from nixdock.registry.access import Access
from nixdock.registry.request import Request
from nixdock.registry.transport import Transport

__all__ = ["Turns", "run_together"]


@dataclass
class Turns:
    """Whose turn it is: that of the client which is least far ahead in time."""

    times: dict[int, float]
    changed: threading.Condition = field(default_factory=threading.Condition)

    def pass_time(self, number: int, seconds: float) -> None:
        """Let time pass for a client, and wait until the others have got as far."""
        with self.changed:
            self.times[number] += seconds
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self._is_next(number), timeout=300)

    def leave(self, number: int) -> None:
        """Let the others go on without a client."""
        with self.changed:
            del self.times[number]
            self.changed.notify_all()

    def _is_next(self, number: int) -> bool:
        return min((time, each) for each, time in self.times.items())[1] == number


class _SlowTransport(Transport):
    """A transport whose requests and answers take time on their way."""

    def __init__(self, host: str, access: Access, travel: Callable[[], None]) -> None:
        super().__init__(host, access)
        self._travel = travel

    def send(self, request: Request, patience: Patience | None = None) -> Response:
        self._travel()
        response = super().send(request, patience)
        self._travel()
        return response


def run_together(
    host: str, jobs: Sequence[Callable[[Transport], object]], delays: Callable[[], float]
) -> None:
    """Run jobs at the same time; `delays` says how long each way takes, in seconds."""
    turns = Turns(dict.fromkeys(range(len(jobs)), 0.0))

    def run(number: int) -> None:
        def waits() -> Iterator[None]:
            while True:
                turns.pass_time(number, delays())
                yield

        pace = Pace(
            sleep=lambda seconds: turns.pass_time(number, seconds),
            now=lambda: turns.times[number],
            jitter=lambda: min(1.0, delays()),
        )
        travel = waits()
        transport = _SlowTransport(
            host, Access(pace=pace, find=lambda *_: None), lambda: next(travel)
        )
        try:
            turns.pass_time(number, 0.0)
            jobs[number](transport)
        finally:
            turns.leave(number)

    with ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(run, number) for number in range(len(jobs))]:
            done.result()
