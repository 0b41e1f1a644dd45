"""The record of the figures of runs, one for each closure that is measured, as JSON.

The next run is compared with it, and the picture in the documentation is drawn from it.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .figure import Figure

__all__ = ["Run", "last_run", "last_values", "save_figures", "this_machine"]

Settings = Mapping[str, object]


@dataclass(frozen=True)
class Run:
    """What was measured: `settings` tell the closure, and `figures` are objects by their names."""

    settings: Settings
    machine: Mapping[str, object]
    figures: Mapping[str, Mapping[str, Any]]


def this_machine() -> dict[str, object]:
    """Return what figures depend on besides nixdock."""
    return {
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }


def last_values(file: Path, settings: Settings) -> dict[str, float]:
    """Return the last values by the figures' names; none if no run with `settings` is recorded."""
    for run in _runs(file):
        if run.settings == settings:
            return {name: entry["value"] for name, entry in run.figures.items()}
    return {}


def last_run(file: Path) -> Run | None:
    """Return the run that was recorded last."""
    return next(reversed(_runs(file)), None)


def save_figures(
    file: Path, settings: Settings, machine: Mapping[str, object], figures: Iterable[Figure]
) -> None:
    """Record a run in place of the last one with these settings."""
    entries = {
        figure.name: {
            "value": figure.value,
            "measured": figure.measured,
            "target": figure.target or None,
            "ok": figure.ok,
            "seconds": figure.seconds and list(figure.seconds),
        }
        for figure in figures
        if figure.value is not None
    }
    others = [run for run in _runs(file) if run.settings != settings]
    runs = [*others, Run(settings, machine, entries)]
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"runs": [asdict(run) for run in runs]}, indent=2, ensure_ascii=False)
    file.write_text(f"{text}\n")


def _runs(file: Path) -> Sequence[Run]:
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError:
        return []
    # Earlier versions kept one run, without the machine.
    return [Run(**run) for run in document.get("runs", ())]
