"""Pack layers on all cores; each is read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from nixdock.errors import PackError
from nixdock.layers.compression import Compression
from nixdock.layers.compressors import load_encoder
from nixdock.layers.kept_compressors import keeping_compressors
from nixdock.layers.layer import Layer, Packing
from nixdock.layers.progress import NO_PROGRESS, Progress, advance_of
from nixdock.layers.two import can_pack_two, pack_two
from nixdock.oci.digests import hex_of
from nixdock.oci.layer_blob import LayerBlob
from nixdock.system.cores import available_cores
from nixdock.system.freed_memory import keep_freed_memory
from nixdock.system.processes import KilledWorkerError, map_in_processes, shared_numbers
from nixdock.system.read_ahead import reading_in_turn
from nixdock.system.writers import FileWriter

__all__ = ["pack", "pack_all", "pack_each"]


# A worker process takes as long to start as so many bytes take to pack, or to compress as well.
_WORTH_A_PROCESS: Final = 32 << 20
_WORTH_A_PROCESS_IF_COMPRESSED: Final = 4 << 20
# So many more layers than there are cores are packed at the same time if some are waited for.
_MORE_IF_WAITING: Final = 4
# Layers are packed in twos only if a core has several turns: it would be idle for long at the end.
_TURNS_FOR_A_CORE: Final = 4


def pack(
    layer: Layer,
    file: Path | None = None,
    compression: Compression = Compression.NONE,
    threads: int = 1,
    *,
    hash_aside: bool = False,
    advance: Callable[[int], object] | None = None,
) -> LayerBlob:
    """Pack `layer` into `file`, or only compute its digests; return its description.

    `Packing` describes the other arguments.
    """
    return _pack(layer, file, Packing(compression, threads, hash_aside, advance))


def _pack(layer: Layer, file: Path | None, packing: Packing) -> LayerBlob:
    if file is None:
        return layer.pack(None, packing)
    with FileWriter(file) as writer:
        return layer.pack(writer.write, packing)


def pack_all(
    layers: Sequence[Layer],
    directory: Path | None = None,
    compression: Compression = Compression.NONE,
    cores: int | None = None,
    progress: Progress = NO_PROGRESS,
    known: Mapping[int, LayerBlob] = MappingProxyType({}),
) -> list[LayerBlob]:
    """Pack `layers` and return their descriptions in the same order.

    With `directory`, each blob is written to a file there that is named by the hexadecimal digits
    of its digest, equal blobs once. Processes and the threads that compress share `cores`; their
    number changes no bytes. `progress`, which the caller starts, learns what is packed. The layers
    in `known`, by their numbers, are not packed.
    Raise what `Layer.pack` raises, and PackError if a worker process is killed.
    """
    packed = dict(known)
    for i, blob in known.items():
        progress.known(i, blob)
    unknown = [i for i in range(len(layers)) if i not in known]
    for i, blob in pack_each(layers, unknown, directory, compression, cores, progress):
        packed[i] = blob
        progress.packed(i, blob)
    return [packed[i] for i in range(len(layers))]


def pack_each(
    layers: Sequence[Layer],
    chosen: Iterable[int],
    directory: Path | None,
    compression: Compression,
    cores: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> Iterator[tuple[int, LayerBlob]]:
    """Pack the layers with the numbers `chosen` as `pack_all` does; yield each when it is packed.

    Only a few layers are packed ahead of the caller. By default, small layers are packed without
    processes.
    """
    order = sorted(chosen, key=lambda i: (-layers[i].weight, i))
    if not order:
        return
    if cores is None:
        is_plain = compression == Compression.NONE
        worth = _WORTH_A_PROCESS if is_plain else _WORTH_A_PROCESS_IF_COMPRESSED
        # Two layers from another machine are waited for longer than that.
        weight = sum(max(layers[i].weight, worth // 2 * layers[i].is_remote) for i in order)
        cores = min(available_cores(), 1 + weight // worth)
    job = _Job(tuple(layers), directory, compression, cores, tuple(order))
    if progress is not NO_PROGRESS:
        job = replace(job, sizes=shared_numbers(len(layers)))
    load_encoder(compression)
    keep_freed_memory()
    with keeping_compressors():
        if job.processes == 1:
            for number in range(len(job.turns)):
                yield from job.run(number, lambda i: advance_of(progress, i))
        else:
            yield from _in_processes(job, progress)


@dataclass(frozen=True)
class _Job:
    """The layers to pack, in `order`.

    `sizes` has the bytes so far of each, in memory that processes share.
    """

    layers: tuple[Layer, ...]
    directory: Path | None
    compression: Compression
    cores: int
    order: tuple[int, ...]
    sizes: memoryview | None = None

    @cached_property
    def processes(self) -> int:
        """The number of turns that are packed at the same time."""
        most = self.cores
        if most > 1 and any(self.layers[i].is_remote for i in self.order):
            most += _MORE_IF_WAITING
        return max(1, min(most, len(self.turns)))

    @cached_property
    def turns(self) -> tuple[tuple[int, ...], ...]:
        """The layers in `order`, in twos where that saves time and leaves no core idle."""
        if not can_pack_two(self.compression):
            return tuple((i,) for i in self.order)
        turns: list[tuple[int, ...]] = []
        alone: list[int] = []
        for i in self.order:
            light = self.layers[i].weight * _TURNS_FOR_A_CORE * self.cores <= self._total_weight
            if not light or self.layers[i].tar_pieces() is None:
                turns.append((i,))
            elif alone:
                turns.append((alone.pop(), i))
            else:
                alone.append(i)
        return (*turns, *((i,) for i in alone))

    def run(
        self, number: int, advance_of: Callable[[int], Callable[[int], object] | None]
    ) -> Iterator[tuple[int, LayerBlob]]:
        """Pack the layers of the turn with a number."""
        turn = self.turns[number]
        parts = [self.directory and self.directory / f".part-{i}" for i in turn]
        packings = [self._packing(i, advance_of(i)) for i in turn]
        layers = [self.layers[i] for i in turn]
        with nullcontext() if self._may_leave_core_idle(number) else reading_in_turn():
            if len(turn) > 1:
                blobs = pack_two(layers, parts, packings)
            else:
                blobs = [_pack(layers[0], parts[0], packings[0])]
        for i, part, blob in zip(turn, parts, blobs, strict=True):
            if part is not None:
                part.rename(part.with_name(hex_of(blob.digest)))
            yield i, blob

    def run_in_worker(self, number: int) -> list[tuple[int, LayerBlob]]:
        sizes = self.sizes

        def advance_of(i: int) -> Callable[[int], object] | None:
            return None if sizes is None else partial(sizes.__setitem__, i)

        return list(self.run(number, advance_of))

    def _packing(self, i: int, advance: Callable[[int], object] | None) -> Packing:
        # It is the last to finish: give it a second thread.
        hash_aside = self._is_heavy(i)
        return Packing(self.compression, self.threads(i), hash_aside, advance)

    def _is_heavy(self, i: int) -> bool:
        """Tell whether layer `i` is heavier than a core's share."""
        return self.cores > 1 and self.layers[i].weight * self.cores > self._total_weight

    def _may_leave_core_idle(self, number: int) -> bool:
        """Tell whether a core may have nothing to do while the layers of a turn are packed.

        That is while they are waited for, or in the end, when there are fewer turns than cores.
        """
        is_among_last = number > len(self.turns) - self.cores
        turn = self.turns[number]
        return is_among_last or any(self._is_heavy(i) or self.layers[i].is_remote for i in turn)

    def threads(self, i: int) -> int:
        """Return how many threads compress layer `i`.

        All layers that are packed at the same time share the cores: each has an equal part or, if
        it is heavy, its part by weight, rounded up. Together they have at most two threads for
        each core.
        """
        equal_part = self.cores // self.processes
        total = self._total_weight
        part_by_weight = -(-self.cores * self.layers[i].weight // total) if total else 0
        return max(1, equal_part, part_by_weight)

    @cached_property
    def _total_weight(self) -> int:
        return sum(self.layers[i].weight for i in self.order)


def _in_processes(job: _Job, progress: Progress) -> Iterator[tuple[int, LayerBlob]]:
    sizes = job.sizes

    def report() -> None:
        if sizes is not None:
            for i in job.order:
                progress.advance(i, sizes[i])

    poll = None if sizes is None else report
    numbers = range(len(job.turns))
    try:
        for _, packed in map_in_processes(job.run_in_worker, numbers, job.processes, poll):
            yield from packed
    except KilledWorkerError:
        raise PackError(
            "a worker process was killed while packing a layer; the machine may be out of memory"
        ) from None
