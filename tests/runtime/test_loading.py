"""`nixdock load` and `run` with real Docker, Podman and containerd."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

import nixdock

from .command import wait_until
from .engine import Docker, Engine, Podman
from .home import APP, BUSYBOX, MB, Home, left_behind
from .target import Target, containerd_target, engine_target

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]


@pytest.fixture(params=["docker", "podman", "containerd"])
def target(request: pytest.FixtureRequest) -> Target:
    name: str = request.param
    found = request.getfixturevalue(name)
    return containerd_target(found) if name == "containerd" else engine_target(name, found)


def load(home: Home, target: Target, *arguments: object) -> dict[str, Any]:
    done = home("load", "-q", "--json", "--into", target.name, *arguments, env=target.env)
    assert "127.0.0.1" not in target.names()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_only_what_changed_is_loaded(home: Home, target: Target) -> None:
    first = load(home, target, home.spec("one"))
    assert first["names"] == ["test/greeting:v1"]
    assert first["bytes_sent"] > 2 * MB
    # An image of another test may have the same files of its own.
    busybox, app, _ = first["layers"]
    assert all(layer["bytes_sent"] == layer["size"] for layer in (busybox, app))

    # Podman asks for the config each time.
    again = load(home, target, home.spec("one"))
    assert again["image"] == first["image"]
    assert [layer["bytes_sent"] for layer in again["layers"]] == [0] * len(first["layers"])
    assert again["bytes_sent"] < 3000

    changed = load(home, target, home.spec("two"))
    assert changed["image"] != first["image"]
    sent = [layer for layer in changed["layers"] if layer["bytes_sent"]]
    # Docker asks for the layers above a new one as well, because it knows them only together.
    above = ["the image's own files"] if target.name == "docker" else []
    assert [layer["comment"] for layer in sent] == ["1 store path: app", *above]
    assert changed["bytes_sent"] < sum(layer["size"] for layer in sent) + 3000
    assert target.image("test/greeting:v1") == changed["image"].removeprefix("sha256:")


def test_it_runs(home: Home, target: Target) -> None:
    # containerd's own program does not know entrypoints.
    command = [f"{APP}/run"] if target.name == "containerd" else []
    words = ["--into", target.name, *target.options, "--", *command, "to", "you"]
    done = home("run", "-q", home.spec("hello"), *words, env=target.env, check=False)
    assert (done.stdout, done.returncode) == ("hello to you\n", 3), done.stderr
    assert "127.0.0.1" not in target.names()


def test_several_images_at_once(home: Home, docker: Docker) -> None:
    """In one command, and in several that know nothing of each other."""
    spec, layout = home.spec("several"), home.directory / "layout"
    home("build", "-q", spec, "-o", layout, "--format", "oci-layout", env=os.environ)
    done = home("load", "-q", spec, layout, "--into", "docker", env=docker.env)
    assert done.stdout == "test/greeting:v1\n" * 2
    commands = [
        [sys.executable, "-m", "nixdock", "load", "-q", str(spec), "--tag", f"test/at-once:v{n}"]
        for n in range(3)
    ]
    env = home.environment(docker.env)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, env=env)) for command in commands
        ]
    assert [process.returncode for process in processes] == [0, 0, 0]
    identities = {docker.inspect(f"test/at-once:v{n}")["Id"] for n in range(3)}
    assert identities == {docker.inspect("test/greeting:v1")["Id"]}
    assert "127.0.0.1" not in docker("images", "--all", "--digests").stdout
    assert left_behind(home) == []


def test_the_demo_is_loaded_and_runs(home: Home, docker: Docker) -> None:
    done = home("demo", "-o", home.directory / "demo.tar", env=docker.env)
    assert done.stderr == ""
    assert "\n\nLoaded into docker as nixdock-demo:latest, and run:\n\nHello from" in done.stdout
    assert "127.0.0.1" not in docker("images", "--all", "--digests").stdout


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_the_image_is_that_of_an_archive(
    request: pytest.FixtureRequest, home: Home, name: str
) -> None:
    engine: Engine = request.getfixturevalue(name)
    spec, archive = home.spec("archive"), home.directory / "image.tar"
    loaded = load(home, engine_target(name, engine), spec, "--tag", "test/by-load:v1")
    nixdock.build_image(nixdock.read_spec(spec), archive, form="docker-archive")
    by_archive = engine.inspect(engine.load(archive))
    by_load = engine.inspect("test/by-load:v1")
    assert by_archive["Id"] == by_load["Id"]
    assert loaded["image"].endswith(by_load["Id"].removeprefix("sha256:"))
    assert by_archive["RootFS"] == by_load["RootFS"]
    # The archive itself is an image at a location, and has the same ID there.
    again = load(home, engine_target(name, engine), f"docker-archive:{archive}")
    assert again["image"] == loaded["image"]


def test_an_image_with_compressed_layers(home: Home, docker: Docker, podman: Podman) -> None:
    layout = home.directory / "layout"
    built = nixdock.build_image(nixdock.read_spec(home.spec("gz")), layout, form="oci-layout")
    for name, engine in (("docker", docker), ("podman", podman)):
        found = load(home, engine_target(name, engine), layout, "--tag", "test/layout:v1")
        assert (found["digest"], found["image"]) == (built.manifest.digest, built.config.digest)
        done = engine.run("test/layout:v1", check=False)
        assert (done.returncode, done.stdout) == (3, "gz\n")


def test_a_layer_that_can_not_be_packed(home: Home, target: Target) -> None:
    """The runtime does not ask again and again, and the error is that of nixdock."""
    spec = home.spec(f"broken {target.name}")
    home("serve", "--until-idle", "0.01", "--compression", "none", spec, env=os.environ)
    data = home.directory / f"root{BUSYBOX}/data"
    data.chmod(0o644)
    data.write_bytes(b"other")
    words = ("load", "-q", "--into", target.name, "--tag", "test/broken:v1")
    done = home(*words, spec, env=target.env, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the layer with 1 store path: busybox is not sha256:")
    assert done.stderr.endswith("; the cache is corrected, so try again\n")
    names = target.names()
    assert "127.0.0.1" not in names
    assert "test/broken" not in names
    home(*words, spec, env=target.env)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_load_leaves_nothing(
    home: Home, docker: Docker, number: signal.Signals
) -> None:
    wrapper, started = home.directory / "bin/docker", home.directory / "started"
    # Other sessions on this machine may run this test, too.
    seconds = f"617.{os.getpid()}"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\nif [ "$1" = pull ]; then\n'
        f'{docker.command[0]} "$@"; >{started}; exec sleep {seconds}\nfi\n'
        f'exec {docker.command[0]} "$@"\n'
    )
    wrapper.chmod(0o755)
    env = {**docker.env, "PATH": f"{wrapper.parent}:{docker.env['PATH']}"}
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "nixdock",
            "load",
            str(home.spec("interrupted")),
            "--tag",
            "test/no:v1",
        ],
        env=home.environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(started.exists, timeout=60, what="the pull")
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert left_behind(home) == []
    assert f"sleep\0{seconds}\0".encode() not in set(_commands())
    names = docker("images", "--all", "--digests").stdout
    assert "127.0.0.1" not in names
    assert "test/no" not in names


def _commands() -> Iterator[bytes]:
    """Give the command lines of all processes."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield (process / "cmdline").read_bytes()
