"""The record of the last run's figures, which the next run is compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from .figure import Figure

__all__ = ["last_values", "save_figures"]

Settings = Mapping[str, object]


def last_values(file: Path, settings: Settings) -> dict[str, float]:
    """Return the recorded values by the figures' names, or none if other settings gave them."""
    try:
        record = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    if record["settings"] != settings:
        return {}
    return {name: entry["value"] for name, entry in record["figures"].items()}


def save_figures(file: Path, settings: Settings, figures: Sequence[Figure]) -> None:
    """Replace the record: a JSON object with the settings, and an object for each figure."""
    entries = {
        figure.name: {
            "value": figure.value,
            "measured": figure.measured,
            "target": figure.target or None,
            "ok": figure.ok,
        }
        for figure in figures
        if figure.value is not None
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    record = {"settings": settings, "figures": entries}
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
