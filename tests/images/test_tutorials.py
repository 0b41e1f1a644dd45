"""Whoever follows the tutorials from start to end gets what they promise."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from ..runtime.command import free_port
from ..runtime.engine import Docker
from ..runtime.registry import Registry
from ..unit.code_blocks import blocks
from ..unit.stores.fake_cache import fake_cache
from .conftest import LIBRARY, Library
from .lesson import Command, File, follow, steps
from .without_nix import HIDE

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

ROOT = LIBRARY.parent
TUTORIALS = ROOT / "docs/tutorial"


@pytest.fixture
def environment(library: Library, docker: Docker, tmp_path: Path) -> dict[str, str]:
    """Return the environment of somebody with Nix and Docker, and nothing else of their own."""
    own = {name: docker.env[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG")}
    return {**library.nix.env, **own, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}


def with_sources(library: Library, flake: str) -> dict[str, str]:
    return {
        "github:NixOS/nixpkgs/nixos-unstable": f"path:{library.nix.pkgs}",
        "github:OWNER/nixdock": flake,
    }


def test_the_first_service_image(
    library: Library,
    flake: str,
    environment: dict[str, str],
    registry: Registry,
    tmp_path: Path,
) -> None:
    lesson = steps(
        TUTORIALS / "first-image.md",
        {
            **with_sources(library, flake),
            # There is a registry, whose image would come from Docker Hub.
            "docker run --detach --name registry --publish 5000:5000 registry:2": ":",
            "docker rm --force registry": ":",
            "localhost:5000": registry.address,
            # The tests' Docker has no networks but the machine's own.
            "--publish 8080:8080": "--network host",
            "8080": str(free_port()),
        },
    )
    follow([*lesson], tmp_path, environment)


def test_the_flake_of_the_readme(
    library: Library, flake: str, environment: dict[str, str], tmp_path: Path
) -> None:
    expression = next(block for block in blocks([ROOT / "README.md"]) if block.language == "nix")
    text = expression.text
    for old, new in with_sources(library, flake).items():
        text = text.replace(old, new)
    place = tmp_path / "hello"
    place.mkdir()
    override = f"--override-input nixpkgs path:{library.nix.pkgs}"
    override += f" --override-input nixdock/nixpkgs path:{library.nix.pkgs}"
    lesson: list[File | Command] = [
        File("flake.nix", text),
        Command(f"nix run {override} .#image.run", ("Hello, world!",)),
        Command(
            f"nix build {override} .#image && docker load < result", ("Loaded image: hello:…",)
        ),
    ]
    follow(lesson, place, environment)


def test_the_image_from_a_dockerfile(
    library: Library, flake: str, environment: dict[str, str], tmp_path: Path
) -> None:
    place = tmp_path / "report"
    place.mkdir()
    lesson = steps(TUTORIALS / "from-a-dockerfile.md", with_sources(library, flake))
    follow([*lesson], place, environment)


def test_the_image_without_nix(
    library: Library, environment: dict[str, str], tmp_path: Path
) -> None:
    """On a machine whose store is hidden, from a cache whose key is trusted."""
    hello, *others = library.closure_of("[ pkgs.hello ]")
    (root,) = (path for path in [hello, *others] if "-hello-" in path.name)
    secret, public = tmp_path / "secret", tmp_path / "public"
    library.nix.run("nix-store", "--generate-binary-cache-key", "test-1", str(secret), str(public))
    cache = f"file://{tmp_path}/cache?compression=none&secret-key={secret}"
    library.nix.nix("copy", "--to", cache, *map(str, [hello, *others]))
    program = tmp_path / "bin/nixdock"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m nixdock "$@"\n')
    program.chmod(0o755)
    page = TUTORIALS / "without-nix.md"
    asked = next(
        step.text
        for step in steps(page, {})
        if isinstance(step, Command) and step.text.startswith("hello=$(curl")
    )
    path = f"{program.parent}:{environment['PATH']}"
    own = {
        "NIX_CONFIG": f"trusted-public-keys = {public.read_text()}",
        "PATH": path,
        "PYTHONPATH": str(ROOT),
    }
    with fake_cache(tmp_path / "cache") as served:
        lesson = steps(page, {asked: f"hello={root}", "https://cache.nixos.org": served.url})
        follow([*lesson], tmp_path, environment | own, within=[*HIDE, path])
        assert any(name.endswith(".narinfo") for name in served.names)
