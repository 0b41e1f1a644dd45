"""Uploads of packed layers, several at once and beside the packing of others."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from msgspec import Struct

from nixdock.network.body import Body
from nixdock.oci.digests import hex_of
from nixdock.oci.layer_blob import LayerBlob
from nixdock.registry.blobs import upload_blob
from nixdock.system.parallel import JobThreads
from nixdock.system.scratch import temporary_directory
from nixdock.transfer.destination import Outcome
from nixdock.transfer.push_target import PushTarget

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Uploaded", "Uploads"]

_AT_ONCE: Final = 4
# Packed layers on disk that wait for their upload or are being sent: packing waits for one of them.
_MOST_WAITING: Final = 8


class Uploaded(Struct, frozen=True):
    """A layer, by its number, and how it got to the targets, by HOST/REPOSITORY."""

    number: int
    outcomes: Mapping[str, Outcome]


class _StoppedError(Exception):
    """An upload is no longer wanted; nobody waits for its result."""


class _StoppableFile(io.FileIO):
    def __init__(self, file: Path, stop: threading.Event) -> None:
        super().__init__(file)
        self._stop = stop

    def _check(self) -> None:
        if self._stop.is_set():
            raise _StoppedError

    def read(self, size: int | None = -1, /) -> bytes:
        self._check()
        return super().read(-1 if size is None else size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._check()
        return super().readinto(buffer)


class Uploads:
    """Uploads of files in `directory`, each of which is removed when all targets have it.

    Use it as a context manager. In a dry run, there is no directory, and targets are only asked.
    """

    def __init__(self, *, dry_run: bool = False) -> None:
        self._dry_run = dry_run
        self._stack = ExitStack()
        self._threads = JobThreads(_AT_ONCE)
        self._running: dict[Future[Uploaded], None] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._done: dict[tuple[str, str], Outcome] = {}
        self.directory: Path | None = None
        self.sent = 0

    def __enter__(self) -> Self:
        if not self._dry_run:
            self.directory = self._stack.enter_context(temporary_directory())
        self._stack.enter_context(self._threads)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._stack.close()

    def start(
        self, number: int, blob: LayerBlob, targets: Sequence[PushTarget], homes: Iterable[str]
    ) -> None:
        """Begin to send a packed layer; wait first if too many of them are on disk."""
        while len(self._running) >= _MOST_WAITING:
            wait(self._running, return_when=FIRST_COMPLETED)
            if any(future.done() for future in self._running):
                break
        future = self._threads.submit(
            partial(self._upload, number, blob, tuple(targets), tuple(homes))
        )
        self._running[future] = None

    def finished(self) -> Iterator[Uploaded]:
        """Yield what has been sent since the last time; raise the error of what could not be."""
        for future in [future for future in self._running if future.done()]:
            del self._running[future]
            yield future.result()

    def rest(self) -> Iterator[Uploaded]:
        """Yield what is sent from now on until everything is."""
        while self._running:
            wait(self._running, return_when=FIRST_COMPLETED)
            yield from self.finished()

    def _upload(
        self, number: int, blob: LayerBlob, targets: Sequence[PushTarget], homes: Sequence[str]
    ) -> Uploaded:
        with self._lock:
            lock = self._locks.setdefault(blob.digest, threading.Lock())
        # Equal layers share a file, and are sent once.
        with lock:
            outcomes = {target.place: self._put(blob, target, homes) for target in targets}
            if self.directory is not None:
                (self.directory / hex_of(blob.digest)).unlink(missing_ok=True)
        return Uploaded(number, outcomes)

    def _put(self, blob: LayerBlob, target: PushTarget, homes: Sequence[str]) -> Outcome:
        key = (target.place, blob.digest)
        outcome = self._done.get(key)
        if outcome is not None:
            return Outcome.PRESENT
        outcome = target.settled(blob.digest, homes, dry_run=self._dry_run)
        if outcome is None:
            outcome = Outcome.UPLOADED
            if self.directory is not None:
                file = self.directory / hex_of(blob.digest)
                body = Body(blob.size, lambda: _StoppableFile(file, self._stop))
                upload_blob(target.repository, blob.digest, body)
            with self._lock:
                self.sent += blob.size
        self._done[key] = outcome
        return outcome
