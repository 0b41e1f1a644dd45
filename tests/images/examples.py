"""The library's examples: all built at once, each loaded when it is asked for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..runtime.engine import Docker, Engine, Podman
from .conftest import LIBRARY, Library

# The package set has no cross compiler: another machine's packages are these, under its name. What
# runs while images are built must not be that machine's.
EXPRESSION = f"""
  let
    all = pkgs.extend (final: _: {{
      pkgsCross.aarch64-multiplatform = final // {{
        pkgs = final.pkgsCross.aarch64-multiplatform;
        callPackage = throw "a program for another machine is no help here";
        runtimeShell = "/shell/of/another/machine";
        stdenv = final.stdenv // {{
          hostPlatform = final.stdenv.hostPlatform // {{ go = {{ GOARCH = "arm64"; }}; }};
        }};
      }};
    }});
    examples = (import {LIBRARY} all).examples;
    attributes = builtins.mapAttrs (_: image: {{
      name = image.imageName or null;
      tag = image.imageTag or null;
      stream = image.isExe or false;
    }}) examples;
  in
  pkgs.linkFarm "examples" (examples // {{
    "attributes.json" = pkgs.writeText "attributes.json" (builtins.toJSON attributes);
  }})
"""


@dataclass(frozen=True)
class Examples:
    """What the examples were built to, and the names they have once they are loaded."""

    nixdock: Library
    docker: Docker
    built: Path
    attributes: dict[str, Any]
    _loaded: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, library: Library, docker: Docker) -> Examples:
        """Build them."""
        built = library.nix.build(EXPRESSION)
        return cls(library, docker, built, json.loads((built / "attributes.json").read_text()))

    def file(self, name: str) -> Path:
        """Return what an example was built to."""
        return (self.built / name).resolve()

    def reference(self, name: str) -> str:
        """Return an image's name and tag as its attributes give them."""
        return f"{self.attributes[name]['name']}:{self.attributes[name]['tag']}"

    def load_all(self, name: str, engine: Engine | None = None) -> list[str]:
        """Load an example once and return the names that the engine has for it."""
        engine = engine or self.docker
        key = (name, *map(str, engine.command))
        if key not in self._loaded:
            with self._archive(name, plain=isinstance(engine, Podman)) as archive:
                self._loaded[key] = engine.load_all(archive)
        return self._loaded[key]

    @contextmanager
    def _archive(self, name: str, *, plain: bool) -> Iterator[Path | IO[bytes]]:
        """Give an example's archive; on demand without gzip, which Podman 4 takes for damage."""
        file = self.file(name)
        if self.attributes[name]["stream"]:
            command: list[str | Path] = [file]
        elif plain and file.suffix == ".gz":
            command = ["gzip", "--decompress", "--stdout", file]
        else:
            yield file
            return
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            yield process.stdout
        assert process.returncode == 0

    def load(self, name: str, engine: Engine | None = None) -> str:
        """Load the only image of an example once and return the name that the engine has for it."""
        (image,) = self.load_all(name, engine)
        return image

    def run(self, name: str, *command: str, engine: Engine | None = None, **options: Any) -> str:
        """Run an example to its end and return what it says."""
        engine = engine or self.docker
        return engine.run(self.load(name, engine), *command, **options).stdout.strip()

    def config(self, name: str) -> dict[str, Any]:
        """Return Docker's view of an example."""
        return self.docker.inspect(self.load(name))
