"""Verifying and decompressing the layers of an image in processes, while their headers are read.

Python runs one thread at a time, so a thread that hashes would wait for one that reads headers
before each of its pieces.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

from msgspec import Struct

from nixdock.coding.codings import Coding
from nixdock.coding.decompression import MOST_EXPANDED
from nixdock.errors import ImageError, NixdockError
from nixdock.read.stored_layer import StoredLayer
from nixdock.read.whole_tars import OpenedTar, copy_tar, read_tar, too_large
from nixdock.system.file_range import Range
from nixdock.system.forked import Forked, Send, forked
from nixdock.system.processes import shared_lock, shared_numbers
from nixdock.system.scratch import temporary_file

__all__ = ["forked_tars"]


@contextmanager
def forked_tars(layers: Sequence[StoredLayer], cores: int) -> Iterator[Iterator[OpenedTar]]:
    """Yield the tars of `layers` in their order, which can be read until the block ends.

    The layers are verified in processes, in their order, on so many cores. An uncompressed tar is
    yielded at once, and a compressed one when it is decompressed.
    """
    unique = tuple(dict.fromkeys(layers))
    with ExitStack() as stack:
        files = {
            layer: stack.enter_context(temporary_file())
            for layer in unique
            if _is_compressed(layer)
        }
        done: dict[StoredLayer, Future[None]] = {layer: Future() for layer in unique}
        lock = stack.enter_context(shared_lock())
        work = _Work(unique, files, lock, shared_numbers(1 + len(unique)))
        # One core is for the caller, unless it has to wait for what it reads.
        processes = cores if files else max(1, cores - 1)
        workers = [stack.enter_context(forked(work.run)) for _ in range(processes)]
        threads = [
            threading.Thread(target=_collect, args=(worker, [*done.values()]), daemon=True)
            for worker in workers
        ]
        stack.callback(_end, workers, threads)
        for thread in threads:
            thread.start()
        ranges: dict[StoredLayer, Range] = {}

        def in_order() -> Iterator[OpenedTar]:
            for layer in layers:
                if layer in files:
                    done[layer].result()
                if layer not in ranges:
                    ranges[layer] = stack.enter_context(work.open_range(layer))
                yield OpenedTar(ranges[layer], done[layer].result)

        yield in_order()


def _is_compressed(layer: StoredLayer) -> bool:
    try:
        return layer.coding is not Coding.NONE
    except ImageError:
        # It is missing; whoever reads it will say so, after what is wrong with earlier layers.
        return False


class _Work(Struct, frozen=True):
    """What the processes do: each takes the next layer, again and again.

    `numbers` are shared: the index of the next layer, and the size of each decompressed layer so
    far.
    """

    layers: Sequence[StoredLayer]
    files: Mapping[StoredLayer, io.FileIO]
    lock: AbstractContextManager[object]
    numbers: memoryview

    def run(self, send: Send) -> None:
        """Send the index of each layer with None when it is verified, or with the first error."""
        while (index := self._next()) < len(self.layers):
            try:
                self._read(index)
            except NixdockError as error:
                send((index, error))
                # Layers before this one are taken already, and those after it matter no more.
                with self.lock:
                    self.numbers[0] = len(self.layers)
            else:
                send((index, None))

    def open_range(self, layer: StoredLayer) -> Range:
        """Open a layer's tar; if it was compressed, it is complete by now."""
        if layer not in self.files:
            return layer.open_range()
        size = self.numbers[1 + self.layers.index(layer)]
        return Range(self.files[layer].fileno(), 0, size)

    def _next(self) -> int:
        with self.lock:
            index = self.numbers[0]
            self.numbers[0] = index + 1
        return index

    def _read(self, index: int) -> None:
        layer = self.layers[index]
        if layer not in self.files:
            read_tar(layer, lambda _: None)
            return

        def count(size: int) -> None:
            self.numbers[1 + index] += size
            if sum(self.numbers[1:]) > MOST_EXPANDED:
                # Which layer goes too far depends on which process is faster.
                raise too_large(MOST_EXPANDED)

        copy_tar(layer, self.files[layer], count)


def _collect(worker: Forked, done: Sequence[Future[None]]) -> None:
    """Hand on what a process sends; if it fails, so do all layers that are not done."""
    failure: Exception
    try:
        for index, error in worker.received():
            if error is None:
                done[index].set_result(None)
            else:
                done[index].set_exception(error)
    except EOFError:
        failure = ImageError(
            "a worker process was killed while reading a layer; the machine may be out of memory"
        )
    except Exception as error:
        failure = error
    else:
        return
    for future in done:
        with suppress(InvalidStateError):
            future.set_exception(failure)


def _end(workers: Sequence[Forked], threads: Sequence[threading.Thread]) -> None:
    for worker in workers:
        worker.end()
    # They use the pipes, which are closed next.
    for thread in threads:
        thread.join()
