"""Images that the Nix library builds in the sandbox, and the runtimes that run them."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

# A fixture is where its name is: these are the ones of the package set and of the runtimes.
from ..nix.conftest import nix, pkgs
from ..nix.harness import Nix
from ..runtime.conftest import containerd, docker, podman, registry, repository, skopeo, umoci

__all__ = [
    "containerd",
    "docker",
    "nix",
    "pkgs",
    "podman",
    "registry",
    "repository",
    "skopeo",
    "umoci",
]

LIBRARY = Path(__file__).parents[2] / "nix"


@dataclass(frozen=True)
class Library:
    """The Nix library under test; `image` in an expression is what it gives."""

    nix: Nix

    def build(self, expression: str, *options: str) -> Path:
        """Build an expression over `pkgs` and `nixdock`."""
        return self.nix.build(self._in_scope(expression), *options)

    def evaluate(self, expression: str) -> object:
        """Evaluate an expression over `pkgs` and `nixdock`."""
        return self.nix.evaluate(self._in_scope(expression))

    def instantiated(self, expression: str) -> Path:
        """Return the derivation of an expression over `pkgs` and `nixdock`."""
        return self.nix.instantiate(self._in_scope(expression))

    def warnings(self, expression: str) -> str:
        """Evaluate an expression over `pkgs` and `nixdock`, and return what Nix warns of."""
        return self.nix.warnings(self._in_scope(expression))

    def closure_of(self, packages: str) -> list[Path]:
        """Build the packages of a list and return the closure of them all."""
        outputs = self.nix.run(
            *("nix-build", "--no-out-link", "-E"),
            f"let pkgs = import {self.nix.pkgs} {{ }}; in {packages}",
        )
        return self.nix.closure(*map(Path, outputs.split()))

    @staticmethod
    def _in_scope(expression: str) -> str:
        return f"let nixdock = import {LIBRARY} pkgs; in {expression}"


@pytest.fixture(scope="session")
def library(nix: Nix) -> Library:
    """The library, over the test package set."""
    return Library(nix)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The repository as users see it: a clean checkout."""
    repository = LIBRARY.parent
    target = tmp_path / "checkout"
    files = subprocess.run(
        ["git", "-C", repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    for name in filter(None, files):
        source = repository / name.decode()
        if source.is_file():
            copy = target / name.decode()
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    return target


@pytest.fixture
def flake(checkout: Path) -> str:
    """The flake of that checkout."""
    return f"path:{checkout}"


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without what could steer nixdock."""
    for name in [*os.environ]:
        if name.startswith(("NIX_", "NIXDOCK_")) or name == "SOURCE_DATE_EPOCH":
            monkeypatch.delenv(name)
