"""The figure of a rebuild of which only digests are wanted: what the last image has is not read."""

from __future__ import annotations

import itertools
from pathlib import Path

from .app import APP_SIZE, App
from .closure import Closure
from .figure import Figure, nixdock, ratio_figure
from .measure import Ratio, interleaved, run

__all__ = ["rebuild_figure"]

_MB = 1_000_000


def rebuild_figure(closure: Closure, directory: Path, repeat: int) -> Figure:
    """Compute the digests of an image whose app has changed; those of the app alone to compare."""
    app = App(closure, directory)
    app.link_store()
    last = directory / "last"
    form = ("--format", "oci-layout", "--compression", "none")
    run(nixdock("build", "-q", str(app.spec(0)), "-o", str(last), *form), keep=False)
    turns = itertools.count(1)

    def digests(spec: Path) -> float:
        return run(nixdock("build", str(spec), "--dry-run", "--no-cache", *form)).seconds

    def changed() -> float:
        return digests(app.spec(next(turns), {"layering": {"previous": str(last)}}))

    def alone() -> float:
        return digests(app.spec_alone(next(turns)))

    ours, theirs = interleaved(3 * repeat, changed, alone)
    name = f"dry run, {APP_SIZE // _MB} MB app changed / alone"
    return ratio_figure(name, Ratio(ours, theirs), most=2)
