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
_NIXDOCK = "github:OWNER/nixdock"


@dataclass(frozen=True)
class Project:
    """A directory, and Nix with a registry that knows nixdock, for which `nixpkgs` is the set."""

    directory: Path
    checkout: Path
    nix: Nix
    registry: Path

    @property
    def env(self) -> dict[str, str]:
        config = f"{self.nix.env['NIX_CONFIG']}flake-registry = {self.registry}\n"
        return {**self.nix.env, "NIX_CONFIG": config}

    def initialise(self, *templates: str) -> None:
        """Copy templates into the directory, and let its flake use the checkout and the set."""
        for template in templates:
            self.run("nix", "flake", "init", "--template", f"nixdock#{template}")
        flake = self.directory / "flake.nix"
        _replace(flake, _NIXPKGS, "flake:nixpkgs")
        _replace(flake, _NIXDOCK, f"path:{self.checkout}")

    def run(self, *command: str | Path) -> str:
        return run(command, self.env, self.directory)

    def build(self, attribute: str) -> Path:
        """Build an attribute of the flake, and return its output."""
        (built,) = json.loads(self.run("nix", "build", "--no-link", "--json", f".#{attribute}"))
        return Path(built["outputs"]["out"])


def _replace(flake: Path, url: str, other: str) -> None:
    text = flake.read_text()
    assert text.count(url) == 1
    flake.write_text(text.replace(url, other))


@pytest.fixture
def project(tmp_path: Path, checkout: Path, nix: Nix) -> Project:
    """An empty project."""
    _replace(checkout / "flake.nix", _NIXPKGS, "flake:nixpkgs")
    registry = tmp_path / "flake-registry.json"
    flakes = [
        {"from": {"type": "indirect", "id": name}, "to": {"type": "path", "path": str(path)}}
        for name, path in (("nixdock", checkout), ("nixpkgs", nix.pkgs))
    ]
    registry.write_text(json.dumps({"version": 2, "flakes": flakes}))
    directory = tmp_path / "project"
    directory.mkdir()
    made = Project(directory, checkout, nix, registry)
    made.run("nix", "flake", "lock", f"path:{checkout}")
    return made
