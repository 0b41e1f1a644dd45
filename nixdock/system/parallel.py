"""Jobs in several threads, of which the first error ends all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

__all__ = ["run_in_threads"]

Result = TypeVar("Result")

_PATIENCE: Final = 0.5
"""How long to wait for each thread after an error, in seconds."""


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
            for worker in workers:
                worker.join(_PATIENCE)
    if errors:
        raise errors[0]
    return [results[i] for i in range(len(jobs))]
