"""The figures of nixdock beside nix2container, if that is in PATH."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from .closure import Closure
from .figure import Figure, ratio_figure
from .measure import Ratio, interleaved, run

__all__ = ["peer_figures"]

_PROGRAM = "nix2container"
# nixdock's limit by default, without the layer of the image's own files.
_MOST_LAYERS = 99


def peer_figures(
    closure: Closure, directory: Path, repeat: int, dry_run: Sequence[str]
) -> Iterator[Figure]:
    """Compare `dry_run`, which computes the digests of all layers, with what is its like there.

    nix2container reads store paths where the graph says they are, so that its files have longer
    names if the closure is below another root.
    """
    if shutil.which(_PROGRAM) is None:
        yield Figure(_PROGRAM, f"not measured: {_PROGRAM} is not in PATH")
        return
    references = {
        f"{closure.root}{info['path']}": [
            f"{closure.root}{path}" for path in info["references"] if path != info["path"]
        ]
        for info in closure.infos
    }
    graph, layers = directory / "nix2container-graph.json", directory / "nix2container.json"
    infos = [{"path": path, "references": found} for path, found in references.items()]
    graph.write_text(json.dumps(infos))
    options = ["--max-layers", str(_MOST_LAYERS)]
    command = [_PROGRAM, "layers-from-reproducible-storepaths", str(layers), str(graph), *options]

    def theirs() -> float:
        layers.unlink(missing_ok=True)
        seconds = run(command, keep=False).seconds
        made = [
            each["path"] for layer in json.loads(layers.read_bytes()) for each in layer["paths"]
        ]
        if sorted(made) != sorted(references):
            raise SystemExit(f"{_PROGRAM} has not made layers of all store paths, each once")
        return seconds

    peer, own = interleaved(repeat, theirs, lambda: run(dry_run, keep=False).seconds)
    yield ratio_figure(f"{_PROGRAM} / build --dry-run", Ratio(peer, own), least=2.5)
