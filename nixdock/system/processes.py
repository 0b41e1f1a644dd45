"""Jobs in worker processes, which are forked where that is safe."""

from __future__ import annotations

import gc
import mmap
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from traceback import format_exception
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nixdock.system.forked import CAN_FORK
from nixdock.system.workers import end_with_parent, termination_signals_blocked

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from multiprocessing.queues import SimpleQueue

__all__ = ["KilledWorkerError", "map_in_processes", "shared_lock", "shared_numbers"]

Result = TypeVar("Result")

# How many jobs for each worker process are done before the first result is taken away.
_AHEAD: Final = 2
# How often to call `poll`, in seconds.
_POLL: Final = 0.1


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
    and then meanwhile. Where processes can't be forked, `run` must be one that pickle takes. Raise
    what `run` raises, without waiting for the others, and KilledWorkerError if a worker is killed.
    """
    from multiprocessing.connection import wait  # noqa: PLC0415 (slow)

    timeout = None if poll is None else _POLL
    with _workers(run, processes) as (jobs, readers):
        waiting = iter(order)
        left = len(order)
        for i in islice(waiting, _AHEAD * processes):
            jobs.put(i)
        while left:
            ready = wait(readers, timeout)
            if poll is not None:
                poll()
            for reader in readers:
                if reader in ready:
                    yield _received(reader)
                    left -= 1
                    for i in islice(waiting, 1):
                        jobs.put(i)


@contextmanager
def _workers(
    run: Callable[[int], object], processes: int
) -> Iterator[tuple[SimpleQueue[int | None], list[Connection]]]:
    """Start worker processes; yield the queue that they take jobs from, and their results.

    They end with the block: when they have nothing to do any more, or at once if it fails.
    """
    from multiprocessing import get_context  # noqa: PLC0415 (slow)

    # Forked workers share the loaded modules.
    context = get_context("fork") if CAN_FORK else get_context("spawn")
    jobs: SimpleQueue[int | None] = context.SimpleQueue()
    readers: list[Connection] = []
    # Only its own are killed: other threads may have workers, too.
    workers: list[BaseProcess] = []
    try:
        with termination_signals_blocked():
            for _ in range(processes):
                reader, writer = context.Pipe(duplex=False)
                readers.append(reader)
                # Only the worker keeps its writer, whose end is that of the worker.
                with writer:
                    arguments = (run, jobs, writer, os.getpid())
                    worker = context.Process(target=_work, args=arguments, daemon=True)
                    worker.start()
                workers.append(worker)
        yield jobs, readers
        for _ in workers:
            jobs.put(None)
    except BaseException:
        # Do not wait for the other jobs: they are no longer needed and may take long.
        for each in workers:
            each.kill()
        raise
    finally:
        for each in workers:
            each.join()
            each.close()
        for reader in readers:
            reader.close()
        jobs.close()


def _received(reader: Connection) -> tuple[int, Any]:
    """Return the number of a job and its result; raise what it raised."""
    try:
        i, result, error = reader.recv()
    except (EOFError, OSError):
        raise KilledWorkerError from None
    if error is not None:
        raise error
    return i, result


def _work(
    run: Callable[[int], object], jobs: SimpleQueue[int | None], results: Connection, parent: int
) -> None:
    """Do jobs until there are no more."""
    # What the parent has made stays as it is: looking through it would only copy its memory.
    gc.freeze()
    end_with_parent(parent)
    while (i := jobs.get()) is not None:
        try:
            results.send((i, run(i), None))
        except Exception as error:
            results.send((i, None, _portable(error)))


def _portable(error: Exception) -> Exception:
    """Return the error, or one in its place if pickle does not take it, with where it was raised.

    pickle leaves that out.
    """
    place = "".join(format_exception(error))
    try:
        pickle.dumps(error)
    except Exception:
        error = RuntimeError(repr(error))
    error.add_note(place)
    return error


def shared_lock() -> AbstractContextManager[object]:
    """Return a lock that this process shares with those that it forks."""
    from multiprocessing import get_context  # noqa: PLC0415 (slow)

    return get_context("fork").Lock()


def shared_numbers(count: int) -> memoryview:
    """Return numbers, all 0, that this process shares with those that it forks."""
    return memoryview(mmap.mmap(-1, 8 * max(1, count))).cast("Q")
