"""Jobs in worker processes, which are forked where that is safe."""

from __future__ import annotations

import gc
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nixdock.system.forked import CAN_FORK
from nixdock.system.workers import end_with_parent, termination_signals_blocked

if TYPE_CHECKING:
    from concurrent.futures import Future

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
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait  # noqa: PLC0415 (slow)
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415
    from multiprocessing import get_context  # noqa: PLC0415

    # Forked workers share the loaded modules.
    context = get_context("fork" if CAN_FORK else "spawn")
    with ProcessPoolExecutor(processes, context, _start, (run, os.getpid())) as executor:
        try:
            waiting = iter(order)
            futures: dict[Future[Any], int] = {}

            def submit(count: int) -> None:
                futures.update((executor.submit(_run, i), i) for i in islice(waiting, count))

            with termination_signals_blocked():
                submit(_AHEAD * processes)
            timeout = None if poll is None else _POLL
            while futures:
                done = wait(futures, timeout, FIRST_COMPLETED).done
                if poll is not None:
                    poll()
                for future in done:
                    yield futures.pop(future), future.result()
                    submit(1)
        except BaseException as error:
            # Do not wait for the other jobs: they are no longer needed and may take long.
            # Only its own are killed: other threads may have workers, too. Python 3.14 is the first
            # that has a method for that.
            for worker in [*(executor._processes or {}).values()]:  # noqa: SLF001
                worker.kill()
            executor.shutdown(wait=True, cancel_futures=True)
            if not isinstance(error, BrokenProcessPool):
                raise
            raise KilledWorkerError from None


def shared_lock() -> AbstractContextManager[object]:
    """Return a lock that this process shares with those that it forks."""
    from multiprocessing import get_context  # noqa: PLC0415 (slow)

    return get_context("fork").Lock()


def shared_numbers(count: int) -> memoryview:
    """Return numbers, all 0, that this process shares with those that it forks."""
    return memoryview(mmap.mmap(-1, 8 * max(1, count))).cast("Q")


_worker_run: Callable[[int], Any] | None = None


def _start(run: Callable[[int], Any], parent: int) -> None:
    global _worker_run  # noqa: PLW0603 (a worker process runs jobs of one kind in its life)
    _worker_run = run
    # What the parent has made stays as it is: looking through it would only copy its memory.
    gc.freeze()
    end_with_parent(parent)


def _run(i: int) -> Any:
    if _worker_run is None:
        raise AssertionError("the worker was not started with what to run")
    return _worker_run(i)
