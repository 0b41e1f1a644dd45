"""A real closure: Python with the usual packages for science, from Debian's packages.

Compressors and registries see in it what they see in production. Its versions are those of the
machine's Debian, so that only runs with the same closure are compared.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..nix import debian
from ..nix.harness import Nix
from .closure import Closure

__all__ = ["can_build_science", "science_closure"]

_PROGRAMS = ("apt-get", "dpkg-deb", "nix-build")


def can_build_science() -> bool:
    """Tell whether the programs that build the closure are installed."""
    return all(map(shutil.which, _PROGRAMS))


def science_closure(cache: Path) -> Closure:
    """Return the closure of the test packages' `science`, built if it is not in the store yet."""
    nix = Nix(debian.prepare())
    science = nix.build("pkgs.science")
    infos = json.loads(nix.nix("path-info", "--json", "--recursive", str(science)))
    cache.mkdir(parents=True, exist_ok=True)
    graph = cache / "science.json"
    graph.write_text(json.dumps(infos))
    return Closure(graph, "")
