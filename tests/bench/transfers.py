"""The figures of pushes and pulls: with a registry on loopback, and beside skopeo."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

from nixdock.oci.media_types import MANIFEST_MEDIA_TYPE

from ..runtime.registry import Registry, local_registry
from .closure import Closure
from .figure import Figure, nixdock, ratio_figure, seconds_figure
from .measure import Ratio, Run, interleaved, run

__all__ = ["transfer_figures"]

_MB = 1_000_000
_PROGRAMS = ("docker-registry", "skopeo")


def transfer_figures(
    closure: Closure, spec: Path, directory: Path, repeat: int
) -> Iterator[Figure]:
    """Measure pushes and pulls of the closure's image, if the programs are installed."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        yield Figure("pushes and pulls", f"not measured: {' and '.join(missing)} missing")
        return
    with local_registry() as registry:
        yield from _Transfers(closure, spec, directory, repeat, registry).figures()


@dataclass(frozen=True)
class _Transfers:
    closure: Closure
    spec: Path
    directory: Path
    repeat: int
    registry: Registry

    def figures(self) -> Iterator[Figure]:
        run(self._push("kept"), keep=False)
        (start,) = interleaved(3 * self.repeat, lambda: self._seconds(nixdock("push", "--help")))
        yield seconds_figure("push --help", start, str(start), most=0.2)
        yield self._unchanged()
        yield self._app_only()
        yield from self._cold()
        yield self._pulling()

    def _push(self, repository: str, *options: str, spec: Path | None = None) -> list[str]:
        name = f"{self.registry.address}/{repository}:latest"
        return nixdock("push", "-q", "--no-cache", "--json", *options, str(spec or self.spec), name)

    def _unchanged(self) -> Figure:
        sent: set[tuple[int, int]] = set()

        def push() -> float:
            done = run(self._push("kept"))
            found = json.loads(done.output)
            own = sum(layer["outcome"] != "known" for layer in found["layers"])
            if own:
                raise SystemExit(f"{own} layers of an unchanged image are not known")
            sent.add((found["bytes_sent"], found["requests"]))
            return done.seconds

        (times,) = interleaved(3 * self.repeat, push)
        ((size, requests),) = sent
        measured = f"{times.median:.3f} s (best {times.best:.3f}), {size} B, {requests} requests"
        return seconds_figure("push, unchanged, empty cache", times, measured, most=0.5)

    def _app_only(self) -> Figure:
        """Change one store path that nothing refers to; push that path alone to compare."""
        graph = self.closure.infos
        # Nix's database would tell that its hash is another one than in the graph.
        self.closure.link_store(self._changed_store)
        referred = {path for info in graph for path in info["references"] if path != info["path"]}
        app = max(
            (info for info in graph if info["path"] not in referred), key=lambda i: i["narSize"]
        )
        hashes = iter(f"sha256:{number:052d}" for number in range(1, 1 << 20))

        def changed() -> float:
            app["narHash"] = next(hashes)
            spec = self._other_spec("changed", graph)
            return self._seconds(self._push("kept", spec=spec))

        def alone() -> float:
            info = {**app, "narHash": next(hashes), "references": []}
            spec = self._other_spec("alone", [info])
            return self._seconds(self._push(self._new_repository(), spec=spec))

        ours, theirs = interleaved(3 * self.repeat, changed, alone)
        size = app["narSize"] / _MB
        name = f"push, {size:.1f} MB app changed / alone"
        return ratio_figure(name, Ratio(ours, theirs), most=1.5)

    @property
    def _changed_store(self) -> Path:
        return self.directory / "changed"

    def _other_spec(self, name: str, graph: Sequence[object]) -> Path:
        file = self.directory / f"{name}-graph.json"
        file.write_text(json.dumps(graph))
        spec = json.loads(self.spec.read_text())
        spec["closure"]["graph"] = str(file)
        spec["store"]["root"] = str(self._changed_store)
        other = self.directory / f"{name}.json"
        other.write_text(json.dumps(spec))
        return other

    def _cold(self) -> Iterator[Figure]:
        layout = self.directory / "uncompressed"
        build = nixdock("build", str(self.spec), "-o", str(layout), "-q")
        run([*build, "--format", "oci-layout", "--compression", "none"], keep=False)
        for compression, least in (("gzip", 1.0), ("zstd", 2.0)):
            # Of a push each: its CPU time, and the bytes of its layers.
            theirs: list[tuple[float, int]] = []
            ours: list[tuple[float, int]] = []
            skopeo, push = interleaved(
                self.repeat,
                partial(self._pushed_by_skopeo, layout, compression, theirs),
                partial(self._pushed, compression, ours),
            )
            name = f"skopeo / push, cold, {compression}"
            figure = ratio_figure(name, Ratio(skopeo, push), least=least)
            (cpu, size), (own_cpu, own_size) = map(min, (theirs, ours))
            more = f"CPU time {cpu / own_cpu:.2f}x, bytes {size / own_size:.2f}x"
            yield replace(figure, measured=f"{figure.measured}; {more}")

    # Each time another registry: for root, skopeo remembers which blobs a registry has.

    def _pushed(self, compression: str, seen: list[tuple[float, int]]) -> float:
        with local_registry() as registry:
            cold = replace(self, registry=registry)
            done = run(cold._push("new", "--compression", compression), keep=False)
            seen.append((done.cpu_seconds, _layers_size(registry)))
            return done.seconds

    def _pushed_by_skopeo(
        self, layout: Path, compression: str, seen: list[tuple[float, int]]
    ) -> float:
        with local_registry() as registry:
            done = self._skopeo(
                "--dest-tls-verify=false",
                "--format=oci",
                "--dest-compress",
                f"--dest-compress-format={compression}",
                f"oci:{layout}",
                f"docker://{registry.address}/new:latest",
            )
            seen.append((done.cpu_seconds, _layers_size(registry)))
            return done.seconds

    def _pulling(self) -> Figure:
        source = f"{self.registry.address}/kept:latest"

        def ours() -> float:
            target = self.directory / f"pulled-{uuid.uuid4().hex}"
            pull = nixdock("pull", "-q", source, "-o", str(target), "--format", "oci-layout")
            return self._seconds(pull, target)

        def theirs() -> float:
            target = self.directory / f"copied-{uuid.uuid4().hex}"
            done = self._skopeo("--src-tls-verify=false", f"docker://{source}", f"oci:{target}:x")
            shutil.rmtree(target)
            return done.seconds

        skopeo, pull = interleaved(self.repeat, theirs, ours)
        return ratio_figure("skopeo / pull", Ratio(skopeo, pull), least=1.0)

    def _skopeo(self, *arguments: str) -> Run:
        """Copy with skopeo, which remembers nothing of earlier copies."""
        with tempfile.TemporaryDirectory(prefix="nixdock-bench-") as home:
            command = ["env", f"HOME={home}", f"XDG_DATA_HOME={home}", "skopeo"]
            return run([*command, "--insecure-policy", "copy", "-q", *arguments], keep=False)

    @staticmethod
    def _new_repository() -> str:
        return f"cold-{uuid.uuid4().hex}"

    @staticmethod
    def _seconds(command: Sequence[str], target: Path | None = None) -> float:
        seconds = run(command, keep=False).seconds
        if target is not None:
            shutil.rmtree(target)
        return seconds


def _layers_size(registry: Registry) -> int:
    """Return how many bytes the layers of the image that was pushed have."""
    request = Request(
        f"{registry.url}/v2/new/manifests/latest", headers={"Accept": MANIFEST_MEDIA_TYPE}
    )
    with urlopen(request) as answer:
        return sum(layer["size"] for layer in json.load(answer)["layers"])
