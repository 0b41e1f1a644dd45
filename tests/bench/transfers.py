"""The figures of pushes and pulls: with a registry on loopback, and beside skopeo."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.registry import Registry, local_registry
from .figure import Figure, nixdock, ratio_figure, seconds_figure
from .measure import Ratio, interleaved, run

__all__ = ["transfer_figures"]

_MB = 1_000_000
_PROGRAMS = ("docker-registry", "skopeo")


def transfer_figures(spec: Path, directory: Path, repeat: int) -> Iterator[Figure]:
    """Measure pushes and pulls of the image of `spec`, if the programs are installed."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        yield Figure("pushes and pulls", f"not measured: {' and '.join(missing)} missing")
        return
    with local_registry() as registry:
        yield from _Transfers(spec, directory, repeat, registry).figures()


@dataclass(frozen=True)
class _Transfers:
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
        graph = json.loads(Path(json.loads(self.spec.read_text())["closure"]["graph"]).read_bytes())
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

    def _other_spec(self, name: str, graph: Sequence[object]) -> Path:
        file = self.directory / f"{name}-graph.json"
        file.write_text(json.dumps(graph))
        spec = json.loads(self.spec.read_text())
        spec["closure"]["graph"] = str(file)
        other = self.directory / f"{name}.json"
        other.write_text(json.dumps(spec))
        return other

    def _cold(self) -> Iterator[Figure]:
        layout = self.directory / "uncompressed"
        build = nixdock("build", str(self.spec), "-o", str(layout), "-q")
        run([*build, "--format", "oci-layout", "--compression", "none"], keep=False)
        for compression, least in (("gzip", 1.0), ("zstd", 2.0)):

            def ours(compression: str = compression) -> float:
                return self._seconds(
                    self._push(self._new_repository(), "--compression", compression)
                )

            def theirs(compression: str = compression) -> float:
                target = f"docker://{self.registry.address}/{self._new_repository()}:latest"
                return self._skopeo(
                    "--dest-tls-verify=false",
                    "--format=oci",
                    "--dest-compress",
                    f"--dest-compress-format={compression}",
                    f"oci:{layout}",
                    target,
                )

            skopeo, push = interleaved(self.repeat, theirs, ours)
            yield ratio_figure(
                f"skopeo / push, cold, {compression}", Ratio(skopeo, push), least=least
            )

    def _pulling(self) -> Figure:
        source = f"{self.registry.address}/kept:latest"

        def ours() -> float:
            target = self.directory / f"pulled-{uuid.uuid4().hex}"
            pull = nixdock("pull", "-q", source, "-o", str(target), "--format", "oci-layout")
            return self._seconds(pull, target)

        def theirs() -> float:
            target = self.directory / f"copied-{uuid.uuid4().hex}"
            seconds = self._skopeo(
                "--src-tls-verify=false", f"docker://{source}", f"oci:{target}:x"
            )
            shutil.rmtree(target)
            return seconds

        skopeo, pull = interleaved(self.repeat, theirs, ours)
        return ratio_figure("skopeo / pull", Ratio(skopeo, pull), least=1.0)

    def _skopeo(self, *arguments: str) -> float:
        """Copy with skopeo, which remembers nothing of earlier copies."""
        with tempfile.TemporaryDirectory(prefix="nixdock-bench-") as home:
            command = ["env", f"HOME={home}", f"XDG_DATA_HOME={home}", "skopeo"]
            return self._seconds([*command, "--insecure-policy", "copy", "-q", *arguments])

    @staticmethod
    def _new_repository() -> str:
        return f"cold-{uuid.uuid4().hex}"

    @staticmethod
    def _seconds(command: Sequence[str], target: Path | None = None) -> float:
        seconds = run(command, keep=False).seconds
        if target is not None:
            shutil.rmtree(target)
        return seconds
