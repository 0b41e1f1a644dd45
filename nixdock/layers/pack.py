"""Pack layers on all cores; each is read once."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nixdock.errors import PackError
from nixdock.layers.compressors import Compression, load_encoder
from nixdock.layers.layer import Layer, Packing
from nixdock.oci.digests import hex_of
from nixdock.oci.layer_blob import LayerBlob
from nixdock.system.cores import available_cores
from nixdock.system.workers import end_with_parent, termination_signals_blocked
from nixdock.system.writers import FileWriter

__all__ = ["OnLayer", "ignore_layer", "pack", "pack_all"]


# Forked workers share the loaded modules. Forking is not safe on other systems than Linux.
_CONTEXT: Final = "fork" if sys.platform == "linux" else "spawn"

OnLayer = Callable[[int, LayerBlob], object]
"""Called with the index and the description of each layer as soon as it is packed."""


def ignore_layer(_index: int, _blob: LayerBlob) -> None:
    """Do nothing: the default for callers that do not report progress."""


def pack(
    layer: Layer,
    file: Path | None = None,
    compression: Compression = Compression.NONE,
    threads: int = 1,
    *,
    hash_aside: bool = False,
) -> LayerBlob:
    """Pack `layer` into `file`, or only compute its digests; return its description.

    `Packing` describes the other arguments.
    """
    packing = Packing(compression, threads, hash_aside)
    if file is None:
        return layer.pack(None, packing)
    with FileWriter(file) as writer:
        return layer.pack(writer.write, packing)


def pack_all(
    layers: Sequence[Layer],
    directory: Path | None = None,
    compression: Compression = Compression.NONE,
    cores: int | None = None,
    on_layer: OnLayer = ignore_layer,
) -> list[LayerBlob]:
    """Pack `layers` and return their descriptions in the same order.

    With `directory`, each blob is written to a file there that is named by the hexadecimal digits
    of its digest, equal blobs once. Processes and the threads that compress share `cores`; their
    number changes no bytes. `on_layer` is called when a layer is packed, in any order.
    Raise what `Layer.pack` raises, and PackError if a worker process is killed.
    """
    cores = available_cores() if cores is None else cores
    job = _Job(tuple(layers), directory, compression, cores)
    order = sorted(range(len(layers)), key=lambda i: (-layers[i].weight, i))
    packed: dict[int, LayerBlob] = {}
    load_encoder(compression)
    if job.processes == 1 or not _can_be_sent(job):
        results: Iterable[tuple[int, LayerBlob]] = ((i, job.run(i)) for i in order)
    else:
        results = _in_processes(job, order)
    for i, blob in results:
        packed[i] = blob
        on_layer(i, blob)
    return [packed[i] for i in range(len(layers))]


def _can_be_sent(job: _Job) -> bool:
    """Tell whether worker processes can run the job; only forked ones can share open files."""
    if _CONTEXT == "fork":
        return True
    try:
        pickle.dumps(job)
    except TypeError:
        return False
    return True


@dataclass(frozen=True)
class _Job:
    layers: tuple[Layer, ...]
    directory: Path | None
    compression: Compression
    cores: int

    @property
    def processes(self) -> int:
        """The number of layers that are packed at the same time."""
        return max(1, min(self.cores, len(self.layers)))

    def run(self, i: int) -> LayerBlob:
        layer = self.layers[i]
        part = None if self.directory is None else self.directory / f".part-{i}"
        # A layer heavier than a core's share is the last to finish: give it a second thread.
        hash_aside = self.cores > 1 and layer.weight * self.cores > self._total_weight()
        blob = pack(layer, part, self.compression, self.threads(i), hash_aside=hash_aside)
        if part is not None and self.directory is not None:
            part.rename(self.directory / hex_of(blob.digest))
        return blob

    def threads(self, i: int) -> int:
        """Return how many threads compress layer `i`.

        All layers that are packed at the same time share the cores: each has an equal part or, if
        it is heavy, its part by weight, rounded up. Together they have at most two threads for
        each core.
        """
        equal_part = self.cores // self.processes
        total = self._total_weight()
        part_by_weight = -(-self.cores * self.layers[i].weight // total) if total else 0
        return max(1, equal_part, part_by_weight)

    def _total_weight(self) -> int:
        return sum(layer.weight for layer in self.layers)


def _in_processes(job: _Job, order: Sequence[int]) -> Iterator[tuple[int, LayerBlob]]:
    from concurrent.futures import ProcessPoolExecutor, as_completed  # noqa: PLC0415 (slow)
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415
    from multiprocessing import active_children, get_context  # noqa: PLC0415

    context = get_context(_CONTEXT)
    earlier_children = set(active_children())
    with ProcessPoolExecutor(job.processes, context, _start_worker, (job, os.getpid())) as executor:
        try:
            with termination_signals_blocked():
                futures = {executor.submit(_run_in_worker, i): i for i in order}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException as error:
            # Do not wait for the other layers: they are no longer needed and may take long.
            for worker in set(active_children()) - earlier_children:
                worker.kill()
            executor.shutdown(wait=True, cancel_futures=True)
            if not isinstance(error, BrokenProcessPool):
                raise
            raise PackError(
                "a worker process was killed while packing a layer;"
                " the machine may be out of memory"
            ) from None


_worker_job: _Job | None = None


def _start_worker(job: _Job, parent: int) -> None:
    global _worker_job  # noqa: PLW0603 (a worker process runs one job in its life)
    _worker_job = job
    end_with_parent(parent)


def _run_in_worker(i: int) -> LayerBlob:
    if _worker_job is None:
        raise AssertionError("the worker was not started with a job")
    return _worker_job.run(i)
