"""Packing: layer sources in, layers out, each read once and all cores busy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from nixdock.atomic import FileWriter
from nixdock.background import in_background
from nixdock.compression import Compression, compressor
from nixdock.digest import Hashing, hex_of
from nixdock.errors import PackError
from nixdock.layer import BlobLayer, FinishedLayer, Source
from nixdock.process import end_with_parent, ending_held_back

__all__ = ["LAYER_MEDIA_TYPE", "OnLayer", "available_cores", "pack", "pack_all"]

LAYER_MEDIA_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"

# Forked workers share what is loaded already; elsewhere than on Linux forking is not safe.
_CONTEXT: Final = "fork" if sys.platform == "linux" else "spawn"

OnLayer = Callable[[int, BlobLayer], object]


def available_cores() -> int:
    """Return how many processes to use: NIX_BUILD_CORES, else the CPUs this one may run on."""
    cores = os.environ.get("NIX_BUILD_CORES", "")
    if cores.isascii() and cores.isdigit() and int(cores) > 0:
        return int(cores)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pack(
    source: Source,
    file: Path | None = None,
    compression: Compression = Compression.NONE,
    workers: int = 1,
    *,
    hash_aside: bool = False,
) -> BlobLayer:
    """Pack `source` into `file`, or nowhere, and return the layer; one pass over the bytes.

    A finished layer is copied, whatever the compression. `workers` threads compress. With
    `hash_aside`, one more hashes while this one reads.
    """
    with nullcontext() if file is None else FileWriter(file) as writer:
        if isinstance(source, FinishedLayer):
            return replace(source.copy(_nowhere if writer is None else writer.write), file=file)
        blob = Hashing(None if writer is None else writer.write)
        if compression is Compression.NONE:
            tar, compressing = blob, None
        else:
            compressing = compressor(compression, blob.write, workers)
            tar = Hashing(compressing.write)
        with in_background(tar.write) if hash_aside else nullcontext(tar.write) as write:
            source.write_to(write)
        if compressing is not None:
            compressing.finish()
    return BlobLayer(
        diff_id=tar.digest,
        digest=blob.digest,
        size=blob.size,
        media_type=LAYER_MEDIA_TYPE + compression.media_type_suffix,
        history=source.history,
        file=file,
    )


def _nowhere(_data: object) -> None:
    """Write nothing."""


def pack_all(
    sources: Sequence[Source],
    directory: Path | None = None,
    compression: Compression = Compression.NONE,
    cores: int | None = None,
    on_layer: OnLayer = lambda _index, _layer: None,
) -> list[BlobLayer]:
    """Pack `sources` and return their layers in the same order.

    With `directory`, each blob is kept there under the hexadecimal digits of its digest; blobs
    that are equal are kept once. `on_layer` is called as each one ends, in no certain order.
    """
    cores = available_cores() if cores is None else cores
    job = _Job(tuple(sources), directory, compression, cores)
    order = sorted(range(len(sources)), key=lambda i: (-sources[i].weight, i))
    layers: dict[int, BlobLayer] = {}
    if min(cores, len(sources)) <= 1 or not _can_be_shared(sources):
        for i in order:
            layers[i] = job.run(i)
            on_layer(i, layers[i])
    else:
        for i, layer in _in_processes(job, order, cores):
            layers[i] = layer
            on_layer(i, layer)
    return [layers[i] for i in range(len(sources))]


def _can_be_shared(sources: Sequence[Source]) -> bool:
    """Tell whether other processes can pack them: open files are theirs only when forked."""
    return _CONTEXT == "fork" or not any(isinstance(s, FinishedLayer) for s in sources)


@dataclass(frozen=True)
class _Job:
    sources: tuple[Source, ...]
    directory: Path | None
    compression: Compression
    cores: int

    def run(self, i: int) -> BlobLayer:
        source = self.sources[i]
        part = None if self.directory is None else self.directory / f".part-{i}"
        # What is heavier than a core's share is what all wait for in the end.
        total = sum(other.weight for other in self.sources)
        aside = self.cores > 1 and source.weight * self.cores > total
        layer = pack(source, part, self.compression, self.cores, hash_aside=aside)
        if part is None or self.directory is None:
            return layer
        return replace(layer, file=part.rename(self.directory / hex_of(layer.digest)))


def _in_processes(job: _Job, order: Sequence[int], cores: int) -> Iterator[tuple[int, BlobLayer]]:
    from concurrent.futures import ProcessPoolExecutor, as_completed  # noqa: PLC0415 (slow)
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415
    from multiprocessing import active_children, get_context  # noqa: PLC0415

    context = get_context(_CONTEXT)
    workers = min(cores, len(order))
    others = set(active_children())
    with ProcessPoolExecutor(workers, context, _start_worker, (job, os.getpid())) as executor:
        try:
            with ending_held_back():
                futures = {executor.submit(_run_in_worker, i): i for i in order}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException as error:
            # What is under way is of no use any more, and may take long.
            for worker in set(active_children()) - others:
                worker.kill()
            executor.shutdown(wait=True, cancel_futures=True)
            if not isinstance(error, BrokenProcessPool):
                raise
            raise PackError(
                "a process that packed a layer was killed, perhaps for want of memory"
            ) from None


_worker_job: _Job | None = None


def _start_worker(job: _Job, parent: int) -> None:
    global _worker_job  # noqa: PLW0603 (a worker process runs one job in its life)
    _worker_job = job
    end_with_parent(parent)


def _run_in_worker(i: int) -> BlobLayer:
    if _worker_job is None:
        raise AssertionError("the worker was not started with a job")
    return _worker_job.run(i)
