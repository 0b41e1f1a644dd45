"""The registration text is, to the byte, the one that closureInfo makes of the same graph."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .harness import Nix

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]


def test_registration_equals_closure_info(nix: Nix) -> None:
    roots = "[ pkgs.python3 pkgs.coreutils ]"
    graph = nix.build(
        f"""pkgs.runCommand "graph.json" {{
          __structuredAttrs = true; exportReferencesGraph.closure = {roots};
        }} ''cp "$NIX_ATTRS_JSON_FILE" "$out"''"""
    )
    expected = nix.build(f"pkgs.closureInfo {{ rootPaths = {roots}; }}") / "registration"
    done = subprocess.run(
        [sys.executable, "-m", "nixdock", "registration", str(graph)],
        capture_output=True,
        check=True,
    )
    assert done.stdout == expected.read_bytes()
