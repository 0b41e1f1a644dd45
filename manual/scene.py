"""A directory in which the examples of the reference run: images, specs and graphs that are real.

`demo.json` describes the image of the closure that comes with nixdock, `demo.tar` is that image and
`next.tar` an update of it; `layout` has it as an OCI layout, and `demo-graph.json` is the reference
graph. `graph.json` is a recorded reference graph of Python with SciPy below an app, and
`new-graph.json` the same after a release of the app. `app.key` and `app.pub` are a pair of keys.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from nixdock.demo import ARCHITECTURES, unpacked_closure
from nixdock.face.specs import spec_json
from nixdock.nix.closure import Closure
from tests.bench.products import product_of
from tests.bench.traces import APP

__all__ = ["RECORDED", "Scene", "released", "scene"]

RECORDED: Final = "python-scipy"
"""The product whose recorded graph the examples and the pictures show."""

_MOST_LINES: Final = 24


def released() -> tuple[Closure, Closure]:
    """Return the closure of the recorded product, and the one after a release of its app."""
    product = product_of(RECORDED)
    return product.closure(), product.updated(APP).closure()


class Scene:
    """The directory, and what commands print in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def shown(self, line: str) -> str:
        """Run a line of a shell, and return it with what it prints, as on a terminal.

        Raise RuntimeError if it fails.
        """
        done = subprocess.run(
            ["sh", "-c", line.replace("nixdock ", f"{sys.executable} -m nixdock ")],
            cwd=self.directory,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{line}\n{done.stdout}")
        lines = done.stdout.splitlines()
        if len(lines) > _MOST_LINES:
            lines = [*lines[:_MOST_LINES], "…"]
        return "\n".join([f"$ {line}", *lines])

    def _environment(self) -> dict[str, str]:
        root = Path(__file__).parents[1]
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(root),
            "HOME": str(self.directory),
            "XDG_CACHE_HOME": str(self.directory / ".cache"),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "90",
            "COSIGN_PASSWORD": "secret",
            # With several cores, layers are finished in any order.
            "NIX_BUILD_CORES": "1",
        }


@contextmanager
def scene() -> Iterator[Scene]:
    """Make the directory, and remove it at the end of the block."""
    with (
        TemporaryDirectory(prefix="nixdock-manual-") as name,
        unpacked_closure(ARCHITECTURES[0]) as demo,
    ):
        directory = Path(name)
        spec = json.loads(spec_json(demo.spec()))
        (directory / "demo.json").write_text(json.dumps(spec))
        update = {**spec, "extra_commands": "echo 2 > version"}
        (directory / "next.json").write_text(json.dumps(update))
        (directory / "demo-graph.json").write_bytes(demo.graph.read_bytes())
        for file, closure in zip(("graph.json", "new-graph.json"), released(), strict=True):
            (directory / file).write_text(_graph(closure))
        made = Scene(directory)
        made.shown("nixdock build demo.json -o demo.tar")
        made.shown("nixdock build next.json -o next.tar")
        made.shown("nixdock build demo.json -o layout --format oci-layout")
        made.shown("nixdock generate-key-pair -o app")
        yield made


def _graph(closure: Closure) -> str:
    entries = [
        {"path": path, "narSize": info.nar_size, "references": info.references}
        for path, info in closure.infos.items()
    ]
    return json.dumps(entries)
