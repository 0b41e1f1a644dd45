"""The figures: measurements, the baselines that they are compared with, and their targets."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nixdock.native.library import native_library

from .app import APP_SIZE, App
from .caches import cache_figures
from .closure import Closure
from .figure import Figure, nixdock, ratio_figure, seconds_figure
from .large import JOBS
from .loads import load_figures
from .measure import Ratio, Series, interleaved, run, run_watched
from .packers import packer_figures
from .peers import peer_figures
from .rebuilds import rebuild_figure
from .serving import serving_figure
from .transfers import transfer_figures

__all__ = ["MANY", "Bench"]

_HERE = Path(__file__).parent
_MB = 1_000_000
_MOST_MEMORY = 250 * _MB
_MOST_MEMORY_OF_STREAM = 100 * _MB
MANY = 100_000
_MOST_MEMORY_FOR_MANY = 1000 * _MB
_SECONDS_FOR_MANY = {20_000: 3.0, 100_000: 30.0}
_GROWTH = (1_000, 5_000, 20_000)
_DEPTH = 5
_SAMPLE = 32 * _MB


@dataclass(frozen=True)
class Bench:
    """One run: a closure, a place for files, and how often each measurement is repeated.

    `cache` is where made-up closures are kept, and `many` the greatest number of paths that are
    planned.
    """

    closure: Closure
    directory: Path
    repeat: int
    cache: Path
    many: int = MANY

    def figures(self) -> Iterator[Figure]:
        """Measure and yield one figure after the other."""
        # Finds the layers for the baselines, and brings the closure into the page cache.
        digests, sizes = self._layers()
        yield Figure("closure", f"{len(sizes)} layers, {sum(sizes) / _MB:.0f} MB in all")
        yield self._hashing(sizes)
        yield from peer_figures(self.closure, self.directory, self.repeat, self._dry_run)
        yield from packer_figures(
            self._spec, self.directory, self.repeat, self._dry_run, self.cache
        )
        yield from self._streaming(digests, sizes)
        yield self._absolute("plan", ["plan", str(self.closure.graph)], 0.5)
        yield self._absolute("--help", ["--help"], 0.15)
        yield from self._starting()
        yield from _popularity(self.repeat)
        yield from _planning(self.repeat)
        yield from _planning_many(self.many)
        yield from _database(self.repeat)
        yield from self._compressing()
        yield from self._stacking()
        yield rebuild_figure(self.closure, self.directory, self.repeat)
        yield from transfer_figures(self.closure, self._spec, self.directory, self.repeat)
        yield from load_figures(self.closure, self.directory, self.repeat)
        yield serving_figure(self._spec)
        yield from cache_figures(self.closure, self.directory, self.repeat)

    @property
    def _spec(self) -> Path:
        file = self.directory / "spec.json"
        file.write_text(
            json.dumps(
                {
                    "version": 1,
                    "name": "bench",
                    "closure": {"graph": str(self.closure.graph.resolve())},
                    "store": {"root": self.closure.root},
                }
            )
        )
        return file

    @property
    def _dry_run(self) -> list[str]:
        # The layers of a stream: without compression, as the baselines have them.
        options = ["--format", "docker-archive", "--dry-run", "--no-cache"]
        return nixdock("build", str(self._spec), *options)

    def _layers(self) -> tuple[list[str], list[int]]:
        lines = run(self._dry_run).output.decode().splitlines()
        layers = [line.split() for line in lines[:-1]]
        return [digest for digest, _ in layers], [int(size) for _, size in layers]

    def _hashing(self, sizes: Sequence[int]) -> Figure:
        build = self._dry_run
        alone = _script("hash_alone.py", *map(str, sizes))
        ours, theirs = interleaved(2 * self.repeat, _time(build), _time(alone))
        most = 2.0 if native_library() is None else 1.8
        return ratio_figure("build --dry-run / SHA-256 alone", Ratio(ours, theirs), most=most)

    def _streaming(self, digests: Sequence[str], sizes: Sequence[int]) -> Iterator[Figure]:
        plan = self.directory / "plan.json"
        plan.write_bytes(run(nixdock("plan", str(self.closure.graph), "--json")).output)
        stream = nixdock("stream", str(self._spec), "--quiet")
        baseline = _script("two_pass.py", str(plan), self.closure.root)

        def two_pass() -> float:
            done = run(baseline, keep=False)
            # The same bytes, or the comparison means nothing; the top layer is not a store layer.
            if [f"sha256:{line}" for line in done.errors.decode().split()] != digests[:-1]:
                raise SystemExit("the baseline's layers are not those of nixdock")
            return done.seconds

        theirs, ours = interleaved(self.repeat, two_pass, _time(stream))
        yield ratio_figure("two-pass tarfile / stream", Ratio(theirs, ours), least=5.0)
        done, memory = run_watched(stream)
        if done.output_size < sum(sizes):
            raise SystemExit("the stream is shorter than its layers")
        yield _memory("stream, memory of all processes", memory, _MOST_MEMORY_OF_STREAM)

    def _starting(self) -> Iterator[Figure]:
        """Measure the CPU time of small jobs, most of which is start-up."""
        resolved = str(self.directory / "resolved.json")
        app = str(App(self.closure, self.directory).spec_alone(0))
        form = ["--format", "docker-archive"]
        yield self._cpu("--help", ["--help"], 0.08)
        yield self._cpu("resolve", ["resolve", str(self._spec), "-o", resolved], 0.25)
        yield self._cpu(
            f"{APP_SIZE // _MB} MB alone", ["build", app, "--dry-run", "--no-cache", *form], 0.15
        )

    def _cpu(self, name: str, arguments: Sequence[str], most: float) -> Figure:
        command = nixdock(*arguments)
        (times,) = interleaved(3 * self.repeat, lambda: run(command, keep=False).cpu_seconds)
        measured = f"{times.median:.3f} s (best {times.best:.3f})"
        return seconds_figure(f"{name}, CPU time", times, measured, most=most)

    def _absolute(self, name: str, arguments: Sequence[str], most: float) -> Figure:
        (times,) = interleaved(3 * self.repeat, _time(nixdock(*arguments)))
        measured = f"{times.median:.3f} s (best {times.best:.3f})"
        return Figure(name, measured, times.median, f"< {most} s", times.median < most)

    def _stacking(self) -> Iterator[Figure]:
        """Build images on top of each other, each with as many store paths of its own."""
        graph = self.closure.infos
        paths = sorted(info["path"] for info in graph)
        share = -(-len(paths) // _DEPTH)
        base: Path | None = None
        for depth in range(_DEPTH):
            own = paths[depth * share : (depth + 1) * share]
            spec = self.directory / f"stack-{depth}.json"
            spec.write_text(
                json.dumps(
                    {
                        "version": 1,
                        "name": "stack",
                        "store_layers": [own],
                        "store": {"root": self.closure.root},
                        **({"from_image": {"path": str(base)}} if base else {}),
                    }
                )
            )
            base = self.directory / f"stack-{depth}.tar"
            build = nixdock("build", str(spec), "-o", str(base), "--format", "docker-archive", "-q")
            run(build, keep=False)
            alone = _script("hash_alone.py", str(base.stat().st_size))
            ours, theirs = interleaved(self.repeat, _time(build), _time(alone))
            ratio = Ratio(ours, theirs)
            size = base.stat().st_size / _MB
            measured = f"{ratio}: {ours} / {theirs}, {size:.0f} MB"
            name = f"build, depth {depth + 1} / SHA-256 alone"
            yield Figure(name, measured, ratio.value)

    def _compressing(self) -> Iterator[Figure]:
        trees = map(str, self.closure.trees)
        command = _script("compressors.py", str(_SAMPLE), str(self.repeat), *trees)
        found = json.loads(run(command).output)
        seconds = {name: Series(tuple(times)) for name, times in found["seconds"].items()}
        for name in ("gzip", "zstd"):
            speed = found["bytes"] / seconds[name].median / _MB
            size = found["sizes"][name] / found["sizes"]["zlib"]
            ratio = Ratio(seconds["zlib"], seconds[name])
            measured = f"{ratio}: {speed:.0f} MB/s, {size:.2f} of its size"
            yield Figure(f"zlib -6 / {name}, one thread", measured, ratio.value)


def _popularity(repeat: int) -> Iterator[Figure]:
    memory: dict[int, int] = {}

    def measure(count: int) -> float:
        done = run(_script("growth.py", "popularity", "levels", str(count)))
        memory[count] = max(done.largest_process, memory.get(count, 0))
        return float(done.output)

    series = interleaved(repeat, *(partial(measure, count) for count in _GROWTH))
    for count, times in zip(_GROWTH, series, strict=True):
        measured = f"{times}, {memory[count] / _MB:.0f} MB"
        if count != _GROWTH[-1]:
            yield Figure(f"popularity, {count} paths", measured, times.median)
        else:
            yield seconds_figure(f"popularity, {count} paths", times, measured, most=10)
    name = f"popularity, {_GROWTH[2]} / {_GROWTH[1]} paths"
    squared = (_GROWTH[2] / _GROWTH[1]) ** 2
    yield ratio_figure(name, Ratio(series[2], series[1]), most=squared)
    yield _memory(f"popularity, {_GROWTH[2]} paths, memory", memory[_GROWTH[2]])


def _planning(repeat: int) -> Iterator[Figure]:
    """Measure the shapes of large graphs that are the worst for planning."""
    jobs = {"popularity chain": 10, "auto levels": 6, "auto chain": 6}

    def measure(job: str) -> float:
        return float(run(_script("growth.py", *job.split(), str(_GROWTH[2]))).output)

    series = interleaved(repeat, *(partial(measure, job) for job in jobs))
    for (job, most), times in zip(jobs.items(), series, strict=True):
        strategy, shape = job.split()
        yield seconds_figure(
            f"{strategy}, {_GROWTH[2]} paths in {shape}", times, str(times), most=most
        )


def _planning_many(most: int) -> Iterator[Figure]:
    """Measure every strategy once on closures where few paths have very many referrers."""
    for count in (most // 5, most // 2, most):
        # In one process, so the memory is that of the strategy that needs most.
        done = run([sys.executable, "-m", "tests.bench.large", "pareto", str(count), *JOBS])
        *seconds, megabytes = map(float, done.output.split())
        for job, taken in zip(JOBS, seconds, strict=True):
            name, times = f"{job}, {count} pareto paths", Series((taken,))
            if limit := _SECONDS_FOR_MANY.get(count):
                yield seconds_figure(name, times, str(times), most=limit)
            else:
                yield Figure(name, str(times), taken)
        size = int(megabytes * (1 << 20))
        yield _memory(f"all of these, {count} paths, memory", size, _MOST_MEMORY_FOR_MANY)


def _database(repeat: int) -> Iterator[Figure]:
    def measure(count: int) -> float:
        return float(run(_script("growth.py", "database", "levels", str(count))).output)

    small, middle, large = interleaved(repeat, *(partial(measure, count) for count in _GROWTH))
    yield Figure(f"database, {_GROWTH[0]} paths", str(small), small.median)
    yield seconds_figure(f"database, {_GROWTH[1]} paths", middle, str(middle), most=2)
    # Linear, with room for the cost of a larger index.
    name = f"database, {_GROWTH[2]} / {_GROWTH[1]} paths"
    yield ratio_figure(name, Ratio(large, middle), most=1.5 * _GROWTH[2] / _GROWTH[1])


def _memory(name: str, size: int, most: int = _MOST_MEMORY) -> Figure:
    return Figure(name, f"{size / _MB:.0f} MB", size, f"< {most / _MB:.0f} MB", size < most)


def _time(command: Sequence[str]) -> Callable[[], float]:
    return lambda: run(command, keep=False).seconds


def _script(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-P", str(_HERE / name), *arguments]
