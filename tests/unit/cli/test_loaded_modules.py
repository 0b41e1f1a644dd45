"""What each command loads: a third of the time of a small one goes into importing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.registry.fake_registry import fake_registry

from .program import environment

SampleSpec = Callable[..., Path]

# What few commands need, by a module that stands for all of it.
PARTS = {
    "libdeflate": "deflate",
    "networkx": "networkx",
    "auto": "nixdock.layering.auto",
    "stable": "nixdock.layering.stable",
    "pipelines": "nixdock.layering.pipeline.parse",
    "sqlite": "sqlite3",
    "base image": "nixdock.rootfs.base_image",
    "scripts": "nixdock.rootfs.rootless",
    "registry": "nixdock.registry.transport",
    "accounts": "nixdock.registry.credentials",
    "urllib3": "urllib3",
    "processes": "pickle",
    "multiprocessing": "multiprocessing",
    "server": "waitress",
    "signatures": "nacl",
    "keys": "cryptography",
    "passwords": "bcrypt",
    "zstd": "backports.zstd" if sys.version_info < (3, 14) else "compression.zstd",
    "progress": "rich",
}


def loaded(directory: Path, *arguments: object, **variables: str) -> set[str]:
    """Run a command and return the parts of PARTS that it has loaded."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nixdock", *map(str, arguments)],
        env=environment(HOME=str(directory), NIX_BUILD_CORES="2", **variables),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "nixdock.cli" in modules
    return {part for part, module in PARTS.items() if module in modules}


@pytest.fixture
def spec(tmp_path: Path, sample_spec: SampleSpec) -> Path:
    return sample_spec(tmp_path, extra_commands="")


@pytest.mark.parametrize(
    "command", ["", "build", "push", "index", "plan", "serve", "sign", "verify", "sbom", "check"]
)
def test_help(tmp_path: Path, command: str) -> None:
    assert loaded(tmp_path, *command.split(), "--help") == set()


@pytest.mark.parametrize(
    ("layering", "parts"),
    [
        ({}, {"stable"}),
        ({"strategy": "auto"}, {"auto"}),
        ({"strategy": "popularity"}, {"networkx"}),
        ({"strategy": "pipeline", "pipeline": [["popularity_contest"]]}, {"networkx", "pipelines"}),
    ],
)
def test_resolve(
    tmp_path: Path, sample_spec: SampleSpec, layering: dict[str, object], parts: set[str]
) -> None:
    spec = sample_spec(tmp_path, extra_commands="", layering=layering)
    assert loaded(tmp_path, "resolve", spec, "-o", tmp_path / "resolved.json") == parts


def test_a_resolved_spec_is_built_with_little(tmp_path: Path, spec: Path) -> None:
    resolved = tmp_path / "resolved.json"
    loaded(tmp_path, "resolve", spec, "-o", resolved)
    for form, parts in (("docker-archive", set()), ("oci-archive", {"libdeflate"})):
        options = ("-q", "--no-cache", "-o", tmp_path / form, "--format", form)
        assert loaded(tmp_path, "build", resolved, *options) == parts
    dry = ("-q", "--no-cache", "--dry-run", "--compression", "zstd")
    assert loaded(tmp_path, "build", resolved, *dry) == {"zstd"}


def test_a_spec_loads_what_it_has(tmp_path: Path, sample_spec: SampleSpec) -> None:
    base = tmp_path / "base.tar"
    options = ("-q", "--format", "docker-archive", "--no-cache", "-o")
    plain = sample_spec(tmp_path, extra_commands="", contents=[], config={})
    assert loaded(tmp_path, "build", plain, *options, base) == {"networkx"}
    for changes, parts in (
        ({"extra_commands": "echo > file"}, {"scripts"}),
        ({"nix_db": True}, {"sqlite"}),
        ({"from_image": {"path": str(base)}}, {"base image"}),
    ):
        spec = sample_spec(tmp_path, **{"extra_commands": "", **changes})
        assert loaded(tmp_path, "build", spec, *options, tmp_path / "image") >= parts


def test_a_cache_is_no_registry(tmp_path: Path) -> None:
    name = f"{'0' * 32}-root"
    (tmp_path / "nix-cache-info").write_text("StoreDir: /nix/store\n")
    (tmp_path / f"{'0' * 32}.narinfo").write_text(
        f"StorePath: /nix/store/{name}\nURL: nar/x\nCompression: none\nNarSize: 120\n"
        f"NarHash: sha256:{'0' * 52}\nReferences: \n"
    )
    store = ("--store", f"file://{tmp_path}?trusted=1")
    assert loaded(tmp_path, "closure", f"/nix/store/{name}", *store) == {"sqlite"}


def test_nothing_is_served_to_a_docker_that_has_the_image(
    tmp_path: Path, sample_spec: SampleSpec
) -> None:
    spec = sample_spec(tmp_path, extra_commands="", layering={})
    engine, docker = Path(__file__).with_name("fake_engine.py"), tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\nexec {sys.executable} -S {engine} docker "$@"\n')
    docker.chmod(0o755)
    variables = {
        "PATH": str(docker.parent),
        "FAKE_ENGINE": str(tmp_path / "state.json"),
        "XDG_CACHE_HOME": str(tmp_path),
    }
    assert "server" in loaded(tmp_path, "load", "-q", spec, **variables)
    assert loaded(tmp_path, "load", "-q", spec, **variables) == {"stable"}


@pytest.mark.parametrize("command", ["inspect", "verify", "export", "tarsum", "check", "diff"])
def test_reading_an_image_plans_and_builds_nothing(
    tmp_path: Path, spec: Path, command: str
) -> None:
    image = tmp_path / "image.tar"
    loaded(tmp_path, "build", spec, "-q", "--format", "docker-archive", "-o", image)
    options = {
        "export": ("-o", tmp_path / "exported.tar"),
        "check": ("--max-size", "1MB"),
        "diff": (image,),
    }
    assert loaded(tmp_path, command, image, *options.get(command, ())) == set()


def test_a_plan_builds_nothing(tmp_path: Path, sample_spec: SampleSpec) -> None:
    spec = sample_spec(tmp_path, extra_commands="", layering={})
    for source in (spec, tmp_path / "graph.json"):
        assert loaded(tmp_path, "plan", source) == {"stable"}


def test_a_push_starts_no_processes_for_little(tmp_path: Path, sample_spec: SampleSpec) -> None:
    spec = sample_spec(tmp_path, extra_commands="", layering={})
    with fake_registry() as registry:
        push = ("push", spec, f"{registry.host}/a:1", "-q", "--no-cache")
        for _ in ("new", "unchanged"):
            # zstd packs the plan that the image remembers.
            expected = {"stable", "zstd", "libdeflate", "registry", "urllib3"}
            assert loaded(tmp_path, *push) == expected
