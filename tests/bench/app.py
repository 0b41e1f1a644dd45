"""An app on top of a closure, which is another one each time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from .closure import Closure

__all__ = ["APP_SIZE", "App"]

APP_SIZE = 5_000_000
"""The size of the app in bytes."""

_APP = f"/nix/store/{'0' * 32}-bench-app"


@dataclass(frozen=True)
class App:
    """The app, in a store in `directory` that is made for it."""

    closure: Closure
    directory: Path

    def link_store(self) -> None:
        """Make the store, without the app."""
        self.closure.link_store(self._root)

    def spec(self, turn: int, more: Mapping[str, object] = MappingProxyType({})) -> Path:
        """Write the spec of the closure with the app as it is in one turn, and `more` keys."""
        graph = self.closure.infos
        referred = {path for info in graph for path in info["references"] if path != info["path"]}
        roots = [info["path"] for info in graph if info["path"] not in referred]
        return self._written("app", [*graph, self._info(turn, roots)], more)

    def spec_alone(self, turn: int) -> Path:
        """Write the spec of the app alone, which refers to nothing."""
        return self._written("app-alone", [self._info(turn, [])], {})

    @property
    def _root(self) -> Path:
        return self.directory / "app-store"

    def _info(self, turn: int, references: list[str]) -> Mapping[str, object]:
        """Write the app's file, and return what the graph says of it."""
        tree = Path(f"{self._root}{_APP}")
        tree.mkdir(parents=True, exist_ok=True)
        (tree / "data").write_bytes(sha256(b"%d" % turn).digest() * (APP_SIZE // 32))
        return {
            "path": _APP,
            "narSize": APP_SIZE,
            "references": references,
            "narHash": f"sha256:{turn:052d}",
        }

    def _written(self, name: str, graph: list[object], more: Mapping[str, object]) -> Path:
        file = self.directory / f"{name}-graph.json"
        file.write_text(json.dumps(graph))
        spec = self.directory / f"{name}.json"
        document = {
            "version": 1,
            "name": "bench/app",
            "closure": {"graph": str(file)},
            "store": {"root": str(self._root)},
            **more,
        }
        spec.write_text(json.dumps(document))
        return spec
