"""The figures of the two packers, and of compressed images beside pigz."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from nixdock.native.library import PACKER_VARIABLE, native_library

from .closure import Closure
from .figure import Figure, nixdock, ratio_figure
from .measure import Ratio, interleaved, run
from .synthetic import Shape, synthetic_closure

__all__ = ["packer_figures"]

_FILES = 10_000
_PIGZ = "pigz"


def packer_figures(
    spec: Path, directory: Path, repeat: int, dry_run: Sequence[str], cache: Path
) -> Iterator[Figure]:
    """Compare the packers by `dry_run`, which packs the image of `spec`, and by small files."""
    has_native = native_library() is not None
    if has_native:
        python, native = interleaved(
            repeat,
            lambda: run(_with("python", dry_run), keep=False).seconds,
            lambda: run(_with("native", dry_run), keep=False).seconds,
        )
        yield ratio_figure("dry run, python / native packer", Ratio(python, native))
    else:
        yield Figure("native packer", "not measured: it was not built")
    yield from _small_files(directory, repeat, cache, ["python", *["native"] * has_native])
    yield _pigz(spec, directory, repeat, least=3.0 if has_native else 2.2)


def _cpu_seconds(packer: str, command: Sequence[str]) -> float:
    return run(_with(packer, command), keep=False).cpu_seconds


def _with(packer: str, command: Sequence[str]) -> list[str]:
    return ["env", f"{PACKER_VARIABLE}={packer}", *command]


def _small_files(
    directory: Path, repeat: int, cache: Path, packers: Sequence[str]
) -> Iterator[Figure]:
    """Measure the CPU time that a file takes, without what a closure of few files takes."""
    many = _dry_run(synthetic_closure(Shape(20, _FILES, 100 * _FILES, 3), cache), directory, "many")
    few = _dry_run(synthetic_closure(Shape(20, 20, 2_000, 3), cache), directory, "few")
    for packer in packers:
        with_many, with_few = interleaved(
            repeat, partial(_cpu_seconds, packer, many), partial(_cpu_seconds, packer, few)
        )
        each = (with_many.best - with_few.best) / _FILES
        yield Figure(f"CPU time of a small file, {packer}", f"{each * 1e6:.0f} µs", each)


def _dry_run(closure: Closure, directory: Path, name: str) -> list[str]:
    spec = directory / f"{name}-files.json"
    graph = {"graph": str(closure.graph.resolve())}
    spec.write_text(
        json.dumps({"version": 1, "name": name, "closure": graph, "store": {"root": closure.root}})
    )
    return nixdock("build", str(spec), "--format", "docker-archive", "--dry-run", "--no-cache")


def _pigz(spec: Path, directory: Path, repeat: int, *, least: float) -> Figure:
    """Compare an image of compressed layers with a stream that pigz compresses."""
    if shutil.which(_PIGZ) is None:
        return Figure(_PIGZ, "not measured: pigz is not in PATH")
    sizes: dict[str, int] = {}

    def measure(whose: str, command: Sequence[str], out: Path) -> float:
        seconds = run(command, keep=False).seconds
        sizes[whose] = out.stat().st_size
        out.unlink()
        return seconds

    ours, theirs = (directory / f"{uuid.uuid4().hex}.tar" for _ in range(2))
    stream = " ".join(nixdock("stream", str(spec), "--quiet"))
    build = nixdock(
        "build", str(spec), "-q", "--no-cache", "--compression", "gzip", "-o", str(ours)
    )
    pipe = ["sh", "-c", f"{stream} | {_PIGZ} -6 -p2 > {theirs}"]
    pigz, own = interleaved(
        repeat,
        lambda: measure("pigz", pipe, theirs),
        lambda: measure("own", build, ours),
    )
    ratio = Ratio(pigz, own)
    size = sizes["own"] / sizes["pigz"]
    figure = ratio_figure("stream | pigz -6 -p2 / build, gzip", ratio, least=least)
    measured = f"{ratio}, {size:.3f} of its size"
    return Figure(figure.name, measured, figure.value, figure.target, figure.ok)
