"""Reading layers on all cores.

Reading headers is work for Python, of which threads share one core: layers in files are read in
processes, those in a registry in threads, because connections can't be shared by processes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from nixdock.errors import ImageError
from nixdock.layers.progress import NO_PROGRESS, Progress, advance_of
from nixdock.system.forked import CAN_FORK
from nixdock.system.parallel import run_in_threads
from nixdock.system.processes import KilledWorkerError, map_in_processes, shared_numbers

__all__ = ["Advance", "read_side_by_side"]

Result = TypeVar("Result")

Advance = Callable[[int], object] | None
"""Takes how many bytes of a layer have been read so far; None if nobody wants to know."""

# A worker process takes as long to start as many bytes take to read.
_WORTH_A_PROCESS: Final = 16 << 20


def read_side_by_side(
    jobs: Sequence[Callable[[Advance], Result]],
    sizes: Sequence[int],
    cores: int,
    progress: Progress = NO_PROGRESS,
    *,
    is_local: bool,
) -> list[Result]:
    """Return the results of jobs, in their order; the first ones read layers with these sizes.

    `is_local` says that the layers are in files. Raise the error of a job that fails, of the first
    in order if they are local, and ImageError if a worker process is killed.
    """
    progress.start(sizes)
    cores = min(cores, 1 + sum(sizes) // _WORTH_A_PROCESS) if is_local else cores
    if is_local and CAN_FORK and min(cores, len(jobs)) > 1:
        return _in_processes(jobs, sizes, cores, progress)
    advances = [advance_of(progress, i) for i in range(len(sizes))]
    advances += [None] * (len(jobs) - len(sizes))
    # After an error or an interrupt, nobody waits for what a silent registry may still send.
    begun = [partial(job, advance) for job, advance in zip(jobs, advances, strict=True)]
    return run_in_threads(begun, cores, threading.Event())


def _in_processes(
    jobs: Sequence[Callable[[Advance], Result]],
    sizes: Sequence[int],
    cores: int,
    progress: Progress,
) -> list[Result]:
    numbers = None if progress is NO_PROGRESS else shared_numbers(len(sizes))

    def run(i: int) -> Result | ImageError:
        watch = None if numbers is None or i >= len(sizes) else partial(numbers.__setitem__, i)
        try:
            return jobs[i](watch)
        except ImageError as error:
            # The first in order is raised, not the first in time.
            return error

    def report() -> None:
        for i, size in enumerate(numbers or ()):
            progress.advance(i, size)

    # The largest first: at the end, all processes should have something to do.
    order = sorted(range(len(jobs)), key=lambda i: (-sizes[i] if i < len(sizes) else 0, i))
    processes = min(cores, len(jobs))
    poll = None if numbers is None else report
    try:
        found = dict(map_in_processes(run, order, processes, poll))
    except KilledWorkerError:
        raise ImageError(
            "a worker process was killed while reading a layer; the machine may be out of memory"
        ) from None
    results = []
    for i in range(len(jobs)):
        result = found[i]
        if isinstance(result, ImageError):
            raise result
        results.append(result)
    return results
