"""What the bench measures: a reference graph, and where its files are."""

from __future__ import annotations

import json
import os
import shutil
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

    def link_store(self, root: Path) -> None:
        """Make a store with the same files below `root`, of which no database knows a hash.

        What is there already stays.
        """
        for tree in self.trees:
            target = root / tree.relative_to(self.root or "/")
            if not os.path.lexists(target):
                _link_tree(tree, target)


def _link_tree(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, copy_function=_link)
    else:
        _link(str(source), str(target))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        # The store may be on another file system, and a file has only so many links.
        shutil.copy2(source, target, follow_symlinks=False)
