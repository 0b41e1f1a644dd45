"""Jobs in several threads, of which the first error ends all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from nixdock.system.parallel import JobThreads, run_in_threads

from ..threads import new_threads


@pytest.mark.parametrize("threads", [1, 3, 10])
def test_results_are_in_the_order_of_the_jobs(threads: int) -> None:
    jobs: list[Callable[[], int]] = [lambda i=i: i * i for i in range(5)]  # type: ignore[misc]
    assert run_in_threads(jobs, threads, threading.Event()) == [0, 1, 4, 9, 16]
    assert run_in_threads([], threads, threading.Event()) == []


def test_jobs_run_at_the_same_time() -> None:
    both = threading.Barrier(2)
    jobs = [lambda: both.wait(60)] * 2
    assert sorted(run_in_threads(jobs, 2, threading.Event())) == [0, 1]


def test_the_first_error_stops_the_others() -> None:
    stop = threading.Event()
    begun = threading.Event()
    ended = []

    def fail() -> None:
        begun.wait(60)
        raise ValueError("first")

    def go_on() -> None:
        begun.set()
        stop.wait(60)
        ended.append("running")
        raise KeyError("second")

    with pytest.raises(ValueError, match="first"):
        run_in_threads([fail, go_on, lambda: ended.append("waiting")], 2, stop)
    assert ended == ["running"]


def test_jobs_are_submitted_one_after_another() -> None:
    with JobThreads(2) as threads:
        futures = [threads.submit(partial(pow, i, 2)) for i in range(5)]
        assert [future.result(60) for future in futures] == [0, 1, 4, 9, 16]
        failed = threads.submit(partial(int, "x"))
        assert isinstance(failed.exception(60), ValueError)


def test_threads_start_with_the_first_job() -> None:
    """A process that is forked before has none of their locks."""
    started = new_threads()
    with JobThreads(3) as threads:
        assert not started()
        assert threads.submit(lambda: 5).result(60) == 5
        assert len(started()) == 3


def test_submitted_jobs_that_hang_are_abandoned() -> None:
    begun, released = threading.Event(), threading.Event()
    done: list[int] = []

    def hang() -> None:
        begun.set()
        released.wait(60)

    with JobThreads(1) as threads:
        threads.submit(hang)
        begun.wait(60)
        threads.submit(partial(done.append, 1))
    released.set()
    assert done == []


def test_a_job_that_hangs_is_abandoned() -> None:
    released = threading.Event()

    def fail() -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        run_in_threads([lambda: released.wait(60) and None, fail], 2, threading.Event())
    released.set()
