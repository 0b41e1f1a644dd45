"""Packing: the same layers with and without worker processes, and errors from them."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nixdock.errors import PackError
from nixdock.layers.compression import Compression
from nixdock.layers.compressors import Compressor, compressor
from nixdock.layers.created import CreatedLayer, SizedTar
from nixdock.layers.keys import blob_key
from nixdock.layers.pack import _Job, pack, pack_all
from nixdock.layers.progress import Progress
from nixdock.oci.digests import sha256_digest
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.media_types import LAYER_MEDIA_TYPE
from nixdock.system.buffers import Write
from nixdock.system.cores import available_cores
from nixdock.system.read_ahead import ReadAhead, read_ahead
from tests.unit.forms import STREAMS
from tests.unit.layers.blobs import Packed
from tests.unit.running_forks import running_forks

HISTORY = LayerHistory("a test", "bytes")


class Bytes(CreatedLayer, frozen=True):
    """A layer with the given bytes as its tar; packing it calls `before` first."""

    data: bytes
    weight: int = 0
    before: Callable[[], object] = lambda: None
    history: LayerHistory = HISTORY
    is_remote: bool = False

    def write_tar(self, write: Write) -> None:
        self.before()
        for at in range(0, len(self.data), 70_000):
            write(self.data[at : at + 70_000])

    def measured_tar(self) -> SizedTar:
        return SizedTar(len(self.data), self.history, self.write_tar)


def some_layers(count: int = 7) -> list[Bytes]:
    """Layers of several sizes, some of them equal."""
    datas = [hashlib.shake_256(b"%d" % (i % 5)).digest(1000 + i % 5 * 90_000) for i in range(count)]
    return [Bytes(data, len(data)) for data in datas]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("compression", STREAMS)
@pytest.mark.parametrize("weight", [0, 1 << 30])
def test_one_layer(tmp_path: Path, compression: Compression, weight: int) -> None:
    data = b"data" * 100_000
    alone = pack(Bytes(data), tmp_path / "one", compression)
    assert alone == pack(Bytes(data, weight), tmp_path / "one", compression, threads=3)
    blob = (tmp_path / "one").read_bytes()
    assert alone == LayerBlob(
        diff_id=digest(data),
        digest=digest(blob),
        size=len(blob),
        media_type=LAYER_MEDIA_TYPE + compression.media_type_suffix,
        history=HISTORY,
        key=blob_key(None, compression, digest(data)),
        tar_size=len(data),
    )
    assert alone == pack(Bytes(data, weight), None, compression, 2)


@pytest.mark.slow
@pytest.mark.parametrize("compression", STREAMS)
@pytest.mark.parametrize("cores", [2, 3, 20])
def test_processes_make_no_difference(tmp_path: Path, compression: Compression, cores: int) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "together").mkdir()
    alone = pack_all(some_layers(), tmp_path / "alone", compression, cores=1)
    together = pack_all(some_layers(), tmp_path / "together", compression, cores=cores)
    assert together == alone
    assert [layer.diff_id for layer in alone] == [digest(each.data) for each in some_layers()]
    for layer in together:
        file = tmp_path / "together" / layer.digest.removeprefix("sha256:")
        assert digest(file.read_bytes()) == layer.digest


def note_process(directory: Path) -> None:
    (directory / str(os.getpid())).touch()


def test_where_processes_can_not_be_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of this process pack the layers."""
    monkeypatch.setattr("nixdock.system.processes.CAN_FORK", False)
    noting = partial(note_process, tmp_path)
    layers = [replace(layer, before=noting) for layer in some_layers()]
    expected = pack_all(some_layers(), None, Compression.ZSTD, cores=1)
    reported: dict[int, LayerBlob] = {}
    progress = Packed(reported.__setitem__)
    assert pack_all(layers, None, Compression.ZSTD, cores=2, progress=progress) == expected
    assert reported == dict(enumerate(expected))
    assert os.listdir(tmp_path) == [str(os.getpid())]


@pytest.mark.parametrize(
    ("cores", "weights", "expected"),
    [
        (32, [5] * 16, [2] * 16),
        (2, [100] + [1] * 50, [2] + [1] * 50),
        (8, [0, 0], [4, 4]),
        (32, [99, 1], [32, 16]),
        (4, [7], [4]),
        (1, [9, 9], [1, 1]),
    ],
)
def test_processes_and_compressors_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, weights: list[int], expected: list[int]
) -> None:
    threads: dict[int, int] = {}

    @contextmanager
    def recorded(
        compression: Compression, write: Write, workers: int, *, checksum: bool
    ) -> Iterator[Compressor]:
        assert not checksum
        threads[len(threads)] = workers
        with compressor(compression, write, 1) as stream:
            yield stream

    monkeypatch.setattr("nixdock.layers.tar_encoder.compressor", recorded)
    # In one process, so that the numbers can be seen; the layers keep their order.
    monkeypatch.setattr(
        "nixdock.layers.pack.map_in_processes",
        lambda run, order, *_: ((number, run(number)) for number in order),
    )
    pack_all([Bytes(b"x", weight) for weight in weights], None, Compression.ZSTD, cores)
    assert list(threads.values()) == expected


@given(st.integers(1, 100), st.lists(st.integers(0, 1000), min_size=1, max_size=120))
def test_no_more_than_two_threads_for_each_core(cores: int, weights: list[int]) -> None:
    layers = tuple(Bytes(b"", weight) for weight in weights)
    job = _Job(layers, None, Compression.GZIP, cores, tuple(range(len(weights))))
    threads = sorted((job.threads(i) for i in range(len(weights))), reverse=True)
    assert sum(threads[: job.processes]) <= 2 * cores


def test_more_layers_than_cores_wait_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits until all have begun, as for an answer: the barrier breaks if some can't."""
    barrier = multiprocessing.get_context("fork").Barrier(6)

    def wait() -> None:
        barrier.wait(60)

    remote = [Bytes(b"%d" % i, before=wait, is_remote=True) for i in range(6)]
    expected = [sha256_digest(layer.data) for layer in remote]
    assert [blob.digest for blob in pack_all(remote, cores=2)] == expected
    # By default, such light layers are packed in one process if they need not be waited for.
    monkeypatch.setattr("nixdock.layers.pack.available_cores", lambda: 2)
    assert [blob.digest for blob in pack_all(remote)] == expected


def note_reading(directory: Path, number: int) -> None:
    with read_ahead(io.BytesIO()) as stream:  # type: ignore[arg-type]
        if isinstance(stream, ReadAhead):
            (directory / str(number)).touch()


@pytest.mark.parametrize(
    ("cores", "weights", "remote", "expected"),
    [
        (1, [3, 2, 1], [], []),
        (2, [3, 3, 3, 2, 2], [], [4]),
        (3, [3, 3, 3, 2, 2], [], [3, 4]),
        (2, [9, 2, 2, 1], [], [0, 3]),
        (4, [1, 1, 1], [], [0, 1, 2]),
        (2, [3, 3, 3, 2, 2], [1], [1, 4]),
    ],
)
def test_streams_are_read_ahead_where_a_core_is_idle(
    tmp_path: Path, cores: int, weights: list[int], remote: list[int], expected: list[int]
) -> None:
    layers = [
        Bytes(b"", weight, partial(note_reading, tmp_path, i), is_remote=i in remote)
        for i, weight in enumerate(weights)
    ]
    pack_all(layers, cores=cores)
    assert sorted(map(int, os.listdir(tmp_path))) == expected
    # What the calling thread reads later is not concerned.
    note_reading(tmp_path, 99)
    assert (tmp_path / "99").exists()


@pytest.mark.parametrize("is_remote", [True, False])
def test_only_waiting_takes_more_processes_than_cores(is_remote: bool) -> None:
    layers = tuple(Bytes(b"", 1, is_remote=is_remote) for _ in range(50))
    for cores in (1, 2, 16):
        job = _Job(layers, None, Compression.NONE, cores, tuple(range(50)))
        assert job.processes == cores + (4 if is_remote and cores > 1 else 0)


def test_equal_layers_are_kept_once(tmp_path: Path) -> None:
    layers = pack_all(some_layers(), tmp_path, cores=2)
    assert len(layers) == 7
    assert sorted(os.listdir(tmp_path)) == sorted({layer.digest[7:] for layer in layers})
    assert len(os.listdir(tmp_path)) == 5


def test_nothing_is_kept_without_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(pack_all(some_layers(), cores=2)) == 7
    assert os.listdir(tmp_path) == []


def test_no_layers() -> None:
    assert pack_all([], cores=2) == []


@pytest.mark.parametrize("cores", [1, 3])
def test_every_layer_is_reported_once(cores: int) -> None:
    reported: dict[int, LayerBlob] = {}

    def on_layer(index: int, layer: LayerBlob) -> None:
        assert index not in reported
        reported[index] = layer

    layers = pack_all(some_layers(), cores=cores, progress=Packed(on_layer))
    assert reported == dict(enumerate(layers))


class Sizes(Progress):
    """The bytes of each layer, as they are reported."""

    def __init__(self) -> None:
        self.of: dict[int, list[int]] = {}

    def advance(self, index: int, size: int) -> None:
        self.of.setdefault(index, []).append(size)


@pytest.mark.slow
@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_bytes_are_reported_while_a_layer_is_packed(cores: int, compression: Compression) -> None:
    class Slow(Bytes, frozen=True):
        def write_tar(self, write: Write) -> None:
            for _ in range(4):
                write(bytes(1 << 20))
                time.sleep(0.3 if cores == 2 else 0)

    progress = Sizes()
    layers: list[CreatedLayer] = [Slow(b"", 4 << 20), Bytes(b"x")]
    pack_all(layers, compression=compression, cores=cores, progress=progress)
    sizes = sorted(set(progress.of[0]) - {0})
    assert len(sizes) > 2, "not only at the end"
    assert all(size % (1 << 20) == 0 for size in sizes)
    assert sizes[-1] == 4 << 20


def test_the_heaviest_is_packed_first() -> None:
    reported: list[int] = []
    weights = [3, 9, 1, 9, 5]
    pack_all(
        [Bytes(b"x", weight) for weight in weights],
        cores=1,
        progress=Packed(lambda index, layer: reported.append(index)),
    )
    assert reported == [1, 3, 4, 0, 2]


def test_cores_of_a_nix_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIX_BUILD_CORES", "3")
    assert available_cores() == 3
    usable = len(os.sched_getaffinity(0))
    for value in ("0", "", "-1", "many", "²"):
        monkeypatch.setenv("NIX_BUILD_CORES", value)
        assert available_cores() == usable, value
    monkeypatch.delenv("NIX_BUILD_CORES")
    assert available_cores() == usable


def test_cores_decide_how_many_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def say() -> None:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(0.05)

    slow = [Bytes(b"x", weight=8 << 20, before=say) for _ in range(6)]
    monkeypatch.setenv("NIX_BUILD_CORES", "1")
    pack_all(slow)
    assert os.listdir(tmp_path) == [str(os.getpid())], "alone, no process is started"
    monkeypatch.setenv("NIX_BUILD_CORES", "3")
    pack_all(slow)
    assert 1 < len(os.listdir(tmp_path)) - 1 <= 3


# What goes wrong.


def _fail() -> None:
    raise PackError("/nix/store/x vanished")


def _sleep() -> None:
    # Far longer than pytest's timeout: a test that waits for it fails.
    time.sleep(3600)


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_comes_through(tmp_path: Path, cores: int) -> None:
    with pytest.raises(PackError, match="/nix/store/x vanished"):
        pack_all([Bytes(b"x"), Bytes(b"y", before=_fail), Bytes(b"z")], tmp_path, cores=cores)
    assert running_forks() == []


def test_an_error_does_not_wait_for_other_layers() -> None:
    with pytest.raises(PackError, match="vanished"):
        pack_all([Bytes(b"x", before=_sleep), Bytes(b"y", before=_fail)], cores=2)
    assert running_forks() == []


def test_an_error_in_a_report_ends_the_work() -> None:
    def on_layer(index: int, layer: LayerBlob) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_all([Bytes(b"x", before=_sleep), Bytes(b"y")], cores=2, progress=Packed(on_layer))
    assert running_forks() == []


@pytest.mark.parametrize("count", [2, 300])
def test_a_killed_worker(count: int) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(PackError, match="a worker process was killed while packing a layer"):
        pack_all([Bytes(b"x", before=die) for _ in range(count)], cores=2)
    assert running_forks() == []


def test_other_processes_are_left_alone() -> None:
    other = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    other.start()
    try:
        with pytest.raises(PackError):
            pack_all([Bytes(b"x", before=_fail), Bytes(b"y")], cores=2)
        assert other.is_alive()
    finally:
        other.kill()
        other.join()


PARENT = """
import os, sys, time
from pathlib import Path
from nixdock.layers.created import CreatedLayer
from nixdock.layers.keys import blob_key
from nixdock.layers.pack import pack_all
from nixdock.layers.progress import Progress
from nixdock.oci.layer_blob import LayerHistory

class Slow(CreatedLayer):
    weight = 0
    history = LayerHistory("a test", "slow")
    measured_tar = None

    def write_tar(self, write):
        Path(sys.argv[1], str(os.getpid())).touch()
        time.sleep(60)

pack_all([Slow(), Slow()], cores=2)
"""


def _runs(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells workers of it")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    deadline = time.monotonic() + 20
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)]) as parent:
        while len(os.listdir(tmp_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        workers = [int(name) for name in os.listdir(tmp_path)]
        assert len(workers) == 2
        assert all(map(_runs, workers))
        parent.kill()
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(_runs, workers))
