"""`nixdock load` and `run` with Podman, which may know several images by one short name."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .command import require_tool, wait_until
from .engine import Podman
from .home import Home
from .target import engine_target

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]


def test_a_name_that_is_short_for_another_one(home: Home, podman: Podman) -> None:
    """An image of Docker Hub has been pulled, and one in the store has the same name."""
    aliases = home.directory / "registries.conf"
    aliases.write_text('[aliases]\n"short" = "docker.io/library/short"\n')
    target = engine_target("podman", podman)
    env = {**target.env, "CONTAINERS_REGISTRIES_CONF": str(aliases)}
    words = ("--into", "podman", "--tag")
    home("load", "-q", home.spec("theirs"), *words, "docker.io/library/short:v1", env=env)
    spec = home.spec("ours")
    done = home("run", "-q", spec, *words, "short:v1", *target.options, env=env, check=False)
    assert (done.stdout, done.returncode) == ("ours\n", 3), done.stderr
    # A stream ends with a look at the image.
    env["PATH"] = f"{home.directory}/bin:{os.environ['PATH']}"
    (home.directory / "bin").mkdir()
    program = home.directory / "bin/podman"
    program.write_text(f'#!/bin/sh\n[ $1 != pull ] || exit 1\nexec {podman.command[0]} "$@"\n')
    program.chmod(0o755)
    done = home("load", "-q", "--json", home.spec("more"), *words, "short:v1", env=env)
    loaded = json.loads(done.stdout)
    assert (loaded["names"], loaded["streamed"]) == (["localhost/short:v1"], True)
    assert podman.inspect("localhost/short:v1")["Id"] == loaded["image"].removeprefix("sha256:")


@contextmanager
def service(podman: Podman, socket: Path) -> Iterator[None]:
    """Serve the API of Docker until the block ends."""
    argv = [*podman.command, "system", "service", "--time=0", f"unix://{socket}"]
    with subprocess.Popen(argv, env=podman.env, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(socket.exists)
            yield
        finally:
            process.terminate()


def test_the_program_of_docker_asks_podman(home: Home, podman: Podman) -> None:
    require_tool("docker")
    socket = Path(podman.env["TMPDIR"]) / "podman.sock"
    env = {**podman.env, "DOCKER_HOST": f"unix://{socket}"}
    options = [f"--option={each}" for each in (*podman.container_options, "--network=none")]
    words = ("--into", "docker", "--tag", "by-docker:v1")
    with service(podman, socket):
        done = home("load", "--json", home.spec("one"), *words, env=env)
        assert "warning" not in done.stderr
        loaded = json.loads(done.stdout)
        assert (loaded["runtime"], loaded["streamed"]) == ("docker", True)
        (name,) = loaded["names"]
        assert name == "docker.io/library/by-docker:v1"
        found = podman.inspect(name)
        assert found["Id"] == loaded["image"].removeprefix("sha256:")
        done = home("run", "-q", home.spec("two"), *words, *options, env=env, check=False)
        assert done.stdout == "two\n", done.stderr
