"""Jobs in several threads, none of which keeps the process alive when it is to end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

__all__ = ["JobThreads", "map_in_threads", "run_in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_PATIENCE: Final = 0.5
"""How long to wait for the threads after an error, in seconds."""


def run_in_threads(
    jobs: Sequence[Callable[[], Result]], threads: int, stop: threading.Event
) -> list[Result]:
    """Run all jobs, begun in their order, and return their results in the same order.

    After an error, also one in the calling thread, such as an interrupt, `stop` is set, no other
    job is begun, and the error is raised. Jobs should end soon once `stop` is set; one that hangs
    is abandoned, because a silent server must not keep the process alive.
    """
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    waiting = iter(enumerate(jobs))
    lock = threading.Lock()

    def run() -> None:
        while not stop.is_set():
            with lock:
                number, job = next(waiting, (-1, None))
            if job is None:
                return
            try:
                results[number] = job()
            except BaseException as error:
                errors.append(error)
                stop.set()

    workers = [
        threading.Thread(target=run, name=f"job-{i}", daemon=True)
        for i in range(min(threads, len(jobs)))
    ]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            while worker.is_alive() and not stop.is_set():
                worker.join(_PATIENCE)
    finally:
        if errors or len(results) < len(jobs):
            stop.set()
            _wait_for(workers)
    if errors:
        raise errors[0]
    return [results[i] for i in range(len(jobs))]


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> list[Result]:
    """Return what `function` returns for each item, in their order; the first error ends all."""
    return run_in_threads([partial(function, item) for item in items], threads, threading.Event())


class JobThreads:
    """Threads for jobs that come one after another, and whose results are waited for elsewhere.

    They start with the first job, so that processes may be forked before. One thread submits the
    jobs. The `with` block does not wait for them at its end: those that have not begun are dropped,
    and those that do not end soon are abandoned, as by `run_in_threads`.
    """

    def __init__(self, threads: int) -> None:
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"job-{i}", daemon=True) for i in range(threads)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        for _ in self._threads:
            self._waiting.put(None)
        _wait_for(thread for thread in self._threads if thread.ident is not None)

    def submit(self, job: Callable[[], Result]) -> Future[Result]:
        """Let a thread do a job when one is free."""
        future: Future[Result] = Future()
        self._waiting.put((future, job))
        if self._threads[-1].ident is None:
            for thread in self._threads:
                thread.start()
        return future

    def _run(self) -> None:
        while (each := self._waiting.get()) is not None and not self._ended.is_set():
            future, job = each
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)


def _wait_for(threads: Iterable[threading.Thread]) -> None:
    end = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
