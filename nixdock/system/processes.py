"""Jobs in worker processes, where these can be forked safely, or else in threads."""

from __future__ import annotations

import fcntl
import gc
import mmap
import os
import select
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import islice
from typing import Any, BinaryIO, Final, TypeVar

from nixdock.system.children import Child, Reader, Writer, pipe, start_child
from nixdock.system.forked import CAN_FORK
from nixdock.system.workers import end_with_parent, portable, termination_signals_blocked

__all__ = ["KilledWorkerError", "map_in_processes", "shared_lock", "shared_numbers"]

Result = TypeVar("Result")

# How many jobs for each worker process are done before the first result is taken away.
_AHEAD: Final = 2
# How often to call `poll`, in seconds.
_POLL: Final = 0.1
# How often to look for workers that have ended, in seconds.
_LOOK: Final = 1.0
# The bytes of a job's number in the pipe of jobs, and what says that there are no more.
_JOB_SIZE: Final = 8
_NO_MORE: Final = b"\xff" * _JOB_SIZE


class KilledWorkerError(Exception):
    """A worker process was killed."""


def map_in_processes(
    run: Callable[[int], Result],
    order: Sequence[int],
    processes: int,
    poll: Callable[[], object] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield the numbers in `order`, each with what `run` returns for it in a worker process.

    They come as they are done, and only a few are done ahead of the caller. `poll` is called now
    and then meanwhile. Where processes can't be forked, threads do the jobs. Raise what `run`
    raises, without waiting for the others, and KilledWorkerError if a worker is killed.
    """
    if not CAN_FORK:
        yield from _map_in_threads(run, order, processes, poll)
        return
    timeout = _LOOK if poll is None else _POLL
    with _workers(run, processes) as (jobs, workers):
        waiting = iter(order)
        left = len(order)
        for i in islice(waiting, _AHEAD * processes):
            _put(jobs, i)
        while left:
            ready = _ready(workers, timeout)
            if poll is not None:
                poll()
            # A pipe does not end with its worker if one that another thread forked has it, too.
            if not ready and not all(worker.is_alive() for worker in workers.values()):
                raise KilledWorkerError
            for reader in ready:
                yield _received(reader)
                left -= 1
                for i in islice(waiting, 1):
                    _put(jobs, i)


def _map_in_threads(
    run: Callable[[int], Result],
    order: Sequence[int],
    threads: int,
    poll: Callable[[], object] | None,
) -> Iterator[tuple[int, Result]]:
    from concurrent.futures import FIRST_COMPLETED, wait  # noqa: PLC0415 (slow)

    from nixdock.system.parallel import JobThreads  # noqa: PLC0415 (slow)

    timeout = None if poll is None else _POLL
    waiting = iter(order)
    with JobThreads(threads) as pool:
        running = {pool.submit(partial(run, i)): i for i in islice(waiting, _AHEAD * threads)}
        while running:
            done = wait(running, timeout, FIRST_COMPLETED).done
            if poll is not None:
                poll()
            for each in done:
                yield running.pop(each), each.result()
                for i in islice(waiting, 1):
                    running[pool.submit(partial(run, i))] = i


@contextmanager
def _workers(
    run: Callable[[int], object], processes: int
) -> Iterator[tuple[Writer, dict[Reader, Child]]]:
    """Start worker processes; yield the pipe that they take jobs from, and each by its results.

    They end with the block: when they have nothing to do any more, or at once if it fails.
    """
    # Only its own are killed: other threads may have workers, too.
    workers: dict[Reader, Child] = {}
    with ExitStack() as pipes:
        taken, jobs = pipe()
        pipes.enter_context(taken)
        pipes.enter_context(jobs)
        try:
            with termination_signals_blocked():
                for _ in range(processes):
                    reader, writer = pipe()
                    pipes.enter_context(reader)
                    # Only the worker keeps its writer, whose end is that of the worker.
                    with writer:
                        work = partial(_work, run, taken, writer, os.getpid())
                        workers[reader] = start_child(work)
            yield jobs, workers
            for _ in workers:
                os.write(jobs.fileno(), _NO_MORE)
        except BaseException:
            # Do not wait for the other jobs: they are no longer needed and may take long.
            for each in workers.values():
                each.signal(signal.SIGKILL)
            raise
        finally:
            for each in workers.values():
                each.wait()


def _ready(workers: Mapping[Reader, Child], timeout: float) -> list[Reader]:
    """Return the ends of the workers that have sent something, or have ended, within seconds."""
    pipes = {reader.fileno(): reader for reader in workers}
    ends = select.poll()
    for descriptor in pipes:
        ends.register(descriptor, select.POLLIN)
    return [pipes[descriptor] for descriptor, _ in ends.poll(timeout * 1000)]


def _put(jobs: Writer, i: int) -> None:
    os.write(jobs.fileno(), i.to_bytes(_JOB_SIZE, "little"))


def _received(reader: Reader) -> tuple[int, Any]:
    """Return the number of a job and its result; raise what it raised."""
    try:
        i, result, error = reader.receive()
    except (EOFError, OSError):
        raise KilledWorkerError from None
    if error is not None:
        raise error
    return i, result


def _work(run: Callable[[int], object], jobs: Reader, results: Writer, parent: int) -> None:
    """Do jobs until there are no more.

    They are taken from the pipe without a lock, which would stay locked if a worker were killed
    while it waits: the kernel divides neither a write nor a read of so few bytes.
    """
    # What the parent has made stays as it is: looking through it would only copy its memory.
    gc.freeze()
    end_with_parent(parent)
    while (job := os.read(jobs.fileno(), _JOB_SIZE)) not in {_NO_MORE, b""}:
        i = int.from_bytes(job, "little")
        try:
            results.send((i, run(i), None))
        except Exception as error:
            results.send((i, None, portable(error)))


@contextmanager
def shared_lock() -> Iterator[AbstractContextManager[object]]:
    """Yield a lock that this process shares with those that it forks, each with one thread.

    It is let go if its process is killed, and needs no semaphore: those are files in `/dev/shm`,
    which minimal containers and chroots lack.
    """
    with os.fdopen(os.memfd_create("lock"), "wb") as file:
        yield _SharedLock(file)


class _SharedLock:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __enter__(self) -> None:
        # Record locks are those of a process: a fork has the file, but not the lock.
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)


def shared_numbers(count: int) -> memoryview:
    """Return numbers, all 0, that this process shares with those that it forks."""
    return memoryview(mmap.mmap(-1, 8 * max(1, count))).cast("Q")
