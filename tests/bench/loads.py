"""The figures of loads into Docker: with a daemon of its own, and beside `docker load`."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.engine import Docker, docker_daemon
from .app import App
from .closure import Closure
from .figure import Figure, nixdock, ratio_figure, seconds_figure
from .measure import Ratio, interleaved, run

__all__ = ["load_figures"]

_MB = 1_000_000


def load_figures(closure: Closure, directory: Path, repeat: int) -> Iterator[Figure]:
    """Measure loads of a closure with an app on top, if a daemon can be started here."""
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        yield Figure("loads into Docker", "not measured: they need dockerd, and root")
        return
    with docker_daemon() as docker:
        yield from _Loads(closure, directory, repeat, docker).figures()


@dataclass(frozen=True)
class _Loads:
    closure: Closure
    directory: Path
    repeat: int
    docker: Docker

    def figures(self) -> Iterator[Figure]:
        app = App(self.closure, self.directory)
        app.link_store()
        spec = app.spec(0)
        started = time.perf_counter()
        first = self._load(spec)
        seconds = time.perf_counter() - started
        yield Figure("load, all", f"{seconds:.1f} s, {first['bytes_sent'] / _MB:.0f} MB", seconds)
        (times,) = interleaved(3 * self.repeat, lambda: self._seconds(spec, []))
        measured = f"{times.median:.3f} s (best {times.best:.3f})"
        yield seconds_figure("load, unchanged", times, measured, most=0.7)
        yield from self._app_only(app)

    def _app_only(self, app: App) -> Iterator[Figure]:
        turns = iter(range(1, 1 << 20))
        sizes: set[tuple[int, int]] = set()

        def ours() -> float:
            spec = app.spec(next(turns))
            return self._seconds(spec, ["1 store path: bench-app", "the image's own files"], sizes)

        def theirs(compression: str) -> float:
            spec = app.spec(next(turns))
            archive = self.directory / "loads.tar"
            build = nixdock("build", "-q", str(spec), "-o", str(archive))
            run([*build, "--format", "docker-archive", "--compression", compression], keep=False)
            started = time.perf_counter()
            self.docker.load(archive)
            seconds = time.perf_counter() - started
            archive.unlink()
            return seconds

        # The result of a derivation is compressed with gzip, unless its arguments say otherwise.
        measures = (lambda: theirs("gzip"), lambda: theirs("none"), ours)
        result, plain, part = interleaved(self.repeat, *measures)
        ((sent, layers),) = sizes
        name = "docker load < result / app changed"
        yield ratio_figure(name, Ratio(result, part), least=10)
        yield ratio_figure("docker load / load, app changed", Ratio(plain, part), least=10)
        measured = f"{sent} B, {layers} B in layers"
        # The rest is the config.
        ok = sent - layers < 100_000
        yield Figure("load, app changed, sent", measured, sent / layers, "the layers", ok)

    def _load(self, spec: Path) -> Mapping[str, Any]:
        variables = ("DOCKER_HOST", "DOCKER_CONFIG")
        own = [f"{name}={self.docker.env[name]}" for name in variables]
        cache = f"XDG_CACHE_HOME={self.directory / 'cache'}"
        command = nixdock("load", "-q", "--json", "--into", "docker", str(spec))
        found: dict[str, Any] = json.loads(run(["env", *own, cache, *command]).output)
        return found

    def _seconds(
        self, spec: Path, layers: list[str], sizes: set[tuple[int, int]] | None = None
    ) -> float:
        started = time.perf_counter()
        found = self._load(spec)
        seconds = time.perf_counter() - started
        sent = [layer for layer in found["layers"] if layer["bytes_sent"]]
        if [layer["comment"] for layer in sent] != layers:
            raise SystemExit(f"a load sent other layers than {layers}: {sent}")
        if sizes is not None:
            sizes.add((found["bytes_sent"], sum(layer["size"] for layer in sent)))
        return seconds
