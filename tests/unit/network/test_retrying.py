"""What passes is tried again, ever later, and not for ever."""

from __future__ import annotations

import pytest

from nixdock.errors import RegistryError
from nixdock.network.retrying import Patience, Setback, persist, retry_after

from .clock import Clock

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:50 -0000", 30.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("٣", None),
        ("9" * 400, 999_999_999.0),
    ],
)
def test_retry_after_has_two_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


def failing(
    *, passing: bool = True, after: float | None = None, untouched: bool = False
) -> Setback:
    error = RegistryError("no", place="r.example")
    return Setback(error, passing=passing, after=after, untouched=untouched)


def outcome(
    clock: Clock, setback: Setback, attempts: int = 5, *, retry: bool = True
) -> list[float]:
    """Return how long was slept until a job that always fails was given up."""

    def job() -> None:
        raise setback

    with pytest.raises(RegistryError, match="no") as caught:
        persist(job, Patience(clock.pace(), attempts), retry=retry)
    assert caught.value.__suppress_context__
    return clock.slept


def test_waits_are_twice_as_long_each_time_up_to_a_minute() -> None:
    assert outcome(Clock(), failing(), 8) == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_chance_shortens_a_wait_to_no_less_than_half() -> None:
    clock = Clock()
    assert clock.pace(jitter=lambda: 0.0).delay(2) == 2.0


def test_the_registry_says_how_long_to_wait_up_to_a_minute() -> None:
    assert outcome(Clock(), failing(after=5.0), 3) == [5.0, 5.0]
    assert outcome(Clock(), failing(after=3600.0), 2) == [60.0]


def test_the_budget_ends_all_attempts() -> None:
    clock = Clock()
    assert sum(outcome(clock, failing(after=60.0), 100)) == 900.0


def test_what_does_not_pass_is_not_tried_again() -> None:
    assert outcome(Clock(), failing(passing=False)) == []


def test_what_must_not_be_repeated_is_repeated_only_if_it_has_not_begun() -> None:
    assert outcome(Clock(), failing(), retry=False) == []
    assert outcome(Clock(), failing(untouched=True), 2, retry=False) == [2.0]


def test_what_takes_several_requests_has_one_number_of_attempts() -> None:
    """And waits ever longer, whichever of them fails."""
    clock = Clock()
    patience = Patience(clock.pace(), 5)
    attempts = 0

    def job() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise failing()

    persist(job, patience, retry=True)
    assert patience.lasts()
    assert patience.lasts(at_once=True)
    assert not patience.lasts()
    assert not patience.lasts(after=0.0)
    assert clock.slept == [2.0, 4.0, 8.0]


def test_the_budget_begins_with_the_first_failure() -> None:
    """What gets on may take long, and may break then."""
    clock = Clock()
    patience = Patience(clock.pace(), 100)
    clock.time += 10_000
    assert patience.lasts()
    clock.time += 897
    assert not patience.lasts()
    # Less is not waited, either: the end is the end.
    assert not patience.lasts(after=0.0)


def test_the_error_says_how_long_the_server_asks_to_wait() -> None:
    """Whoever sends something else in place of the request waits as long."""
    setback = failing(after=40.0)
    outcome(Clock(), setback, retry=False)
    assert setback.error.after == 40.0
