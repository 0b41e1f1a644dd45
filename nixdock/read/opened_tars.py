"""The tars of an image's layers as files that can be read at any position."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from nixdock.coding.codings import Coding
from nixdock.coding.decompression import MOST_EXPANDED
from nixdock.errors import ImageError, NixdockError
from nixdock.layers.hashed import CHUNK
from nixdock.read.stored_layer import StoredLayer
from nixdock.system.cores import available_cores
from nixdock.system.file_range import Range
from nixdock.system.parallel import JobThreads
from nixdock.system.scratch import temporary_file

__all__ = ["opened_tars"]

# How many layers are prepared or wait for each core, so that none waits for a large layer to end.
_AHEAD: Final = 4


@contextmanager
def opened_tars(layers: Sequence[StoredLayer], *, verified: bool) -> Iterator[Iterator[Range]]:
    """Yield the tars of `layers` in their order, each as soon as it can be read.

    They can be read until the block ends. With `verified`, every layer is read once first, and
    checked against its diff_id; otherwise, an uncompressed one is not. Compressed layers are
    decompressed into temporary files, and equal layers opened once. As many layers as there are
    cores are prepared at the same time; the first damaged one in their order raises ImageError.
    """
    with ExitStack() as stack:
        opening = _Opening(verified=verified)
        stack.callback(opening.close)
        cores = available_cores()
        threads = stack.enter_context(JobThreads(cores))
        stack.callback(opening.stop.set)

        def in_order() -> Iterator[Range]:
            for i, layer in enumerate(layers):
                # Not all at once: after the first damaged layer, hardly any other should be read.
                for ahead in layers[i : i + _AHEAD * cores]:
                    opening.begin(ahead, threads)
                yield opening.tar(layer)

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
            return self._decompressed(layer)
        if self._verified:
            for _ in self._chunks(layer):
                pass
        return layer.open_range()

    def _decompressed(self, layer: StoredLayer) -> Range:
        with temporary_file() as file:
            size = 0
            for chunk in self._chunks(layer):
                size += len(chunk)
                self._count(len(chunk))
                rest = memoryview(chunk)
                while rest:
                    rest = rest[file.write(rest) :]
            return Range(os.dup(file.fileno()), 0, size, owner=True)

    def _chunks(self, layer: StoredLayer) -> Iterator[bytes]:
        with layer.open_tar() as stream:
            while chunk := stream.read(CHUNK):
                if self.stop.is_set():
                    raise NixdockError("reading stopped because another layer failed")
                yield chunk

    def _count(self, size: int) -> None:
        with self._lock:
            self._expanded += size
            if self._expanded > MOST_EXPANDED:
                # Which layer goes too far depends on which thread is faster.
                raise ImageError(f"the layers expand to more than {MOST_EXPANDED} bytes")
