"""What the bench measures: a reference graph, and where its files are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Closure"]


@dataclass(frozen=True)
class Closure:
    """A reference graph as Nix exports it, and the directory below which its store lies."""

    graph: Path
    root: str

    @property
    def infos(self) -> list[dict[str, Any]]:
        """What the graph says of each store path."""
        infos: list[dict[str, Any]] = json.loads(self.graph.read_bytes())
        return infos

    @property
    def trees(self) -> Sequence[Path]:
        """Where the store paths are, in order."""
        return sorted(Path(f"{self.root}{info['path']}") for info in self.infos)
