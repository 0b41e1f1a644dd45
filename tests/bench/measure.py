"""Whole processes, their wall time and their memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

__all__ = ["Ratio", "Run", "Sampler", "Series", "interleaved", "run", "run_watched"]

_CHUNK = 1 << 20
_SAMPLE_SECONDS = 0.02
# Users have compiled modules, and all cores.
_UNSET = {"NIX_BUILD_CORES", "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Run:
    """The result of a process, together with its child processes."""

    seconds: float
    output_size: int
    output: bytes = field(repr=False)
    errors: bytes = field(repr=False)
    largest_process: int
    """Peak memory of the largest of its processes, in bytes."""
    cpu_seconds: float
    """The time of all cores that it took."""


@dataclass
class _Reader:
    """Read a pipe to its end in a thread, as the reader of an image would."""

    descriptor: int
    keep: bool
    size: int = 0
    kept: list[bytes] = field(default_factory=list)

    def read(self) -> None:
        buffer = bytearray(_CHUNK)
        while count := os.readv(self.descriptor, [buffer]):
            self.size += count
            if self.keep:
                self.kept.append(bytes(buffer[:count]))


def run(
    command: Sequence[str],
    *,
    keep: bool = True,
    watch: Callable[[int], object] = lambda _pid: None,
) -> Run:
    """Run a command whose standard output is a pipe; `keep` its output or drop it.

    `watch` is called with the process id as soon as there is one. Raise SystemExit when the
    command fails: figures of failed runs mean nothing.
    """
    environment = {key: value for key, value in os.environ.items() if key not in _UNSET}
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            env=environment,
        )  # fmt: skip
        if process.stdout is None:
            raise AssertionError("there is no pipe")
        reader = _Reader(process.stdout.fileno(), keep)
        thread = threading.Thread(target=reader.read)
        thread.start()
        watch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        thread.join()
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        errors.seek(0)
        text = errors.read()
    if process.returncode:
        message = text.decode(errors="replace")
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}\n{message}")
    unit = 1 if sys.platform == "darwin" else 1024
    cpu_seconds = usage.ru_utime + usage.ru_stime
    largest = usage.ru_maxrss * unit
    return Run(seconds, reader.size, b"".join(reader.kept), text, largest, cpu_seconds)


@dataclass(frozen=True)
class Series:
    """The times of one thing, measured again and again."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The time to compare."""
        return median(self.seconds)

    @property
    def best(self) -> float:
        """The time on a quiet machine."""
        return min(self.seconds)

    def __str__(self) -> str:
        return f"{self.median:.2f} s" if self.median >= 1 else f"{self.median * 1000:.0f} ms"


@dataclass(frozen=True)
class Ratio:
    """How many times longer `a` takes than `b`, where each was measured in turn."""

    a: Series
    b: Series

    @property
    def value(self) -> float:
        """The ratio of the medians."""
        return self.a.median / self.b.median

    def __str__(self) -> str:
        turns = [a / b for a, b in zip(self.a.seconds, self.b.seconds, strict=True)]
        return f"{self.value:.2f}x ({min(turns):.2f}-{max(turns):.2f})"


def interleaved(repeat: int, *measures: Callable[[], float]) -> list[Series]:
    """Take every measure once, then every one again, so that noise meets them alike."""
    turns = [[measure() for measure in measures] for _ in range(repeat)]
    return [Series(seconds) for seconds in zip(*turns, strict=True)]


def run_watched(command: Sequence[str]) -> tuple[Run, int]:
    """Run a command; return also the most memory that it had with all its children at once.

    Shared pages count once. Where the system doesn't tell, it is the largest process's.
    """
    sampler = Sampler()
    try:
        done = run(command, keep=False, watch=sampler.start)
    finally:
        sampler.stop()
    return done, max(sampler.most, done.largest_process)


class Sampler:
    """Looks again and again at the memory of a process with all its descendants.

    `most` is the most that they had at once, in bytes; shared pages count once.
    """

    def __init__(self) -> None:
        self.most = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, pid: int) -> None:
        """Begin to look at a process."""
        self._thread = threading.Thread(target=self._sample, args=(pid,))
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _sample(self, pid: int) -> None:
        while not self._stopped.wait(_SAMPLE_SECONDS):
            self.most = max(self.most, _proportional_memory(pid))


def _proportional_memory(pid: int) -> int:
    """Return the memory of a process and of its descendants, shared pages divided among them."""
    size = 0
    process = Path(f"/proc/{pid}")
    with suppress(OSError):
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                size += int(line.split()[1]) * 1024
        for task in (process / "task").iterdir():
            children = (task / "children").read_text().split()
            size += sum(_proportional_memory(int(child)) for child in children)
    return size
