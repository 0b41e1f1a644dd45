"""A project made of the templates, as its users have it, but with the test package set."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..images.conftest import checkout, docker, nix, pkgs, registry, repository
from ..nix.harness import Nix, run

__all__ = ["checkout", "docker", "nix", "pkgs", "registry", "repository"]

_NIXPKGS = "github:NixOS/nixpkgs/nixos-unstable"


@dataclass(frozen=True)
class Project:
    """A directory, and Nix with a registry that knows nixdock, for which `nixpkgs` is the set."""

    directory: Path
    nix: Nix
    registry: Path

    @property
    def env(self) -> dict[str, str]:
        config = f"{self.nix.env['NIX_CONFIG']}flake-registry = {self.registry}\n"
        return {**self.nix.env, "NIX_CONFIG": config}

    def initialise(self, *templates: str) -> None:
        """Copy templates into the directory, and let its flake use the test package set."""
        for template in templates:
            self.run("nix", "flake", "init", "--template", f"nixdock#{template}")
        _use_the_test_set(self.directory / "flake.nix")

    def run(self, *command: str | Path) -> str:
        return run(command, self.env, self.directory)

    def build(self, attribute: str) -> Path:
        """Build an attribute of the flake, and return its output."""
        (built,) = json.loads(self.run("nix", "build", "--no-link", "--json", f".#{attribute}"))
        return Path(built["outputs"]["out"])


def _use_the_test_set(flake: Path) -> None:
    text = flake.read_text()
    assert text.count(_NIXPKGS) == 1
    flake.write_text(text.replace(_NIXPKGS, "flake:nixpkgs"))


@pytest.fixture
def project(tmp_path: Path, checkout: Path, nix: Nix) -> Project:
    """An empty project."""
    _use_the_test_set(checkout / "flake.nix")
    registry = tmp_path / "flake-registry.json"
    flakes = [
        {"from": {"type": "indirect", "id": name}, "to": {"type": "path", "path": str(path)}}
        for name, path in (("nixdock", checkout), ("nixpkgs", nix.pkgs))
    ]
    registry.write_text(json.dumps({"version": 2, "flakes": flakes}))
    directory = tmp_path / "project"
    directory.mkdir()
    made = Project(directory, nix, registry)
    made.run("nix", "flake", "lock", f"path:{checkout}")
    return made
