"""The tars of an image's layers as files that can be read at any position."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Final

from nixdock.coding.codings import Coding
from nixdock.coding.decompression import MOST_EXPANDED
from nixdock.errors import NixdockError
from nixdock.read.forked_tars import forked_tars
from nixdock.read.stored_layer import StoredLayer
from nixdock.read.whole_tars import OpenedTar, copy_tar, read_tar, too_large
from nixdock.system.cores import available_cores
from nixdock.system.file_range import Range
from nixdock.system.forked import CAN_FORK
from nixdock.system.parallel import JobThreads
from nixdock.system.scratch import temporary_file

__all__ = ["opened_tars"]

# How many layers are prepared or wait for each core, so that none waits for a large layer to end.
_AHEAD: Final = 4
# Worker processes take as long to start as so many bytes take to read.
_WORTH_PROCESSES: Final = 32 << 20


def opened_tars(
    layers: Sequence[StoredLayer], *, verified: bool, may_fork: bool = False
) -> AbstractContextManager[Iterator[OpenedTar]]:
    """Yield the tars of `layers` in their order, each as soon as it can be read.

    They can be read until the block ends. With `verified`, every layer is read once, and checked
    against its diff_id; otherwise, an uncompressed one is not. Compressed layers are decompressed
    into temporary files, and equal layers opened once. As many layers as there are cores are
    prepared at the same time; a damaged one raises ImageError when it is asked for, or when it is
    waited for.

    `may_fork` says that the layers are in files and that the caller has no threads. Much data is
    then verified in processes, and an uncompressed tar can be read before it is verified.
    """
    cores = available_cores()
    several = may_fork and CAN_FORK and threading.active_count() == 1 and cores > 1
    if several and verified and sum(layer.size for layer in layers) >= _WORTH_PROCESSES:
        return forked_tars(layers, cores)
    return _threaded_tars(layers, cores, verified=verified)


@contextmanager
def _threaded_tars(
    layers: Sequence[StoredLayer], cores: int, *, verified: bool
) -> Iterator[Iterator[OpenedTar]]:
    with ExitStack() as stack:
        opening = _Opening(verified=verified)
        stack.callback(opening.close)
        threads = stack.enter_context(JobThreads(cores))
        stack.callback(opening.stop.set)

        def in_order() -> Iterator[OpenedTar]:
            for i, layer in enumerate(layers):
                # Not all at once: after the first damaged layer, hardly any other should be read.
                for ahead in layers[i : i + _AHEAD * cores]:
                    opening.begin(ahead, threads)
                yield OpenedTar(opening.tar(layer))

        yield in_order()


class _Opening:
    """Opens tars, in several threads."""

    def __init__(self, *, verified: bool) -> None:
        self.stop = threading.Event()
        self._verified = verified
        self._tars: dict[StoredLayer, Future[Range]] = {}
        self._lock = threading.Lock()
        self._expanded = 0

    def begin(self, layer: StoredLayer, threads: JobThreads) -> None:
        """Let a thread open the tar of a layer, unless one does."""
        if layer not in self._tars:
            self._tars[layer] = threads.submit(partial(self._open, layer))

    def tar(self, layer: StoredLayer) -> Range:
        """Return the tar of a layer when it is open."""
        return self._tars[layer].result()

    def close(self) -> None:
        """Close the tars that are open."""
        for future in self._tars.values():
            if future.done() and future.exception() is None:
                future.result().close()

    def _open(self, layer: StoredLayer) -> Range:
        if layer.coding is not Coding.NONE:
            with temporary_file() as file:
                size = copy_tar(layer, file, self._count)
                return Range(os.dup(file.fileno()), 0, size, owner=True)
        if self._verified:
            read_tar(layer, self._go_on)
        return layer.open_range()

    def _go_on(self, _: int) -> None:
        if self.stop.is_set():
            raise NixdockError("reading stopped because another layer failed")

    def _count(self, size: int) -> None:
        self._go_on(size)
        with self._lock:
            self._expanded += size
            if self._expanded > MOST_EXPANDED:
                # Which layer goes too far depends on which thread is faster.
                raise too_large(MOST_EXPANDED)
