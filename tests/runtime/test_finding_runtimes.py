"""`nixdock load` finds what the runtime's program finds: by contexts, for users, elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .command import require_tool, run_tool, wait_until
from .engine import Docker, Podman, podman_environment
from .home import MB, Home
from .target import engine_target
from .workspace import Workspace, workspace

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]

NOBODY = "65534"


@pytest.mark.parametrize("current", [False, True])
def test_a_context_leads_to_the_daemon(home: Home, docker: Docker, current: bool) -> None:
    """As that of a rootless Docker does, whose socket is in the directory of the user."""
    env = {**docker.env, "DOCKER_CONFIG": str(home.directory / "config")}
    host = env.pop("DOCKER_HOST")
    words = ("context", "create", "own", f"--docker=host={host}")
    run_tool([*docker.command, *words], env=env)
    if current:
        run_tool([*docker.command, "context", "use", "own"], env=env)
    else:
        env["DOCKER_CONTEXT"] = "own"
    name = "test/context:v1"
    done = home("load", "-q", "--json", home.spec("context"), "--tag", name, env=env)
    loaded = json.loads(done.stdout)
    assert (loaded["runtime"], loaded["streamed"]) == ("docker", False)
    assert engine_target("docker", docker).image(name) in loaded["image"] + loaded["digest"]
    options = (f"--option={each}" for each in ("--network=none", *docker.container_options))
    done = home("run", "-q", home.spec("hello"), "--tag", name, *options, env=env, check=False)
    assert (done.stdout, done.returncode) == ("hello\n", 3), done.stderr
    docker.rmi(name)


@pytest.fixture
def space() -> Iterator[Workspace]:
    """A directory for another user, whose Podman leaves a process that keeps its namespace."""
    with workspace() as space:
        try:
            yield space
        finally:
            for file in space.root.rglob("pause.pid"):
                os.kill(int(file.read_text()), signal.SIGKILL)


def test_podman_of_a_user_without_privileges(space: Workspace) -> None:
    """Docker is there, but its daemon is not for that user."""
    space.root.chmod(0o755)
    home = Home(space.directory("home"))
    home.scratch.mkdir()
    env = home.environment(podman_environment(space, "vfs", {})) | {
        "DOCKER_HOST": f"unix://{space.root}/docker.sock",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    user = ("--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--bounding-set=-all")
    setpriv = (require_tool("setpriv"), *user)

    def as_user(*words: str) -> str:
        run_tool(["chown", "--recursive", f"{NOBODY}:{NOBODY}", space.root])
        return run_tool([*setpriv, *words], env=env).stdout

    def load(greeting: str) -> dict[str, Any]:
        words = ("load", "-q", "--json", str(home.spec(greeting)))
        found: dict[str, Any] = json.loads(as_user(sys.executable, "-Bm", "nixdock", *words))
        assert [*home.scratch.glob("nixdock*")] == []
        return found

    first, second = load("one"), load("two")
    assert first["runtime"] == "podman"
    assert (first["bytes_sent"] > 2 * MB, second["bytes_sent"] < MB) == (True, True)
    listed = as_user(require_tool("podman"), "images", "--no-trunc", "--format={{.ID}} {{.Names}}")
    assert f"{second['image']} [localhost/test/greeting:v1]" in listed.splitlines()
    assert "127.0.0.1" not in listed


@contextmanager
def service(podman: Podman, home: Home, *within: str) -> Iterator[dict[str, str]]:
    """Serve Podman's own API until the block ends; yield the environment that leads there."""
    socket = home.directory / "podman.sock"
    argv = [*within, *podman.command, "system", "service", "--time=0", f"unix://{socket}"]
    with subprocess.Popen(argv, env=podman.env, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(socket.exists)
            yield {**podman.env, "CONTAINER_HOST": f"unix://{socket}"}
        finally:
            process.terminate()


@pytest.mark.parametrize("far", [False, True])
def test_the_service_of_podman(home: Home, podman: Podman, far: bool) -> None:
    """It pulls, unless it is in another network, from which nothing leads back."""
    shell = ("--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    within = (require_tool("unshare"), *shell) if far else ()
    with service(podman, home, *within) as env:
        for greeting in ("one", "two"):
            words = ("--into", "podman", "--tag", "test/service:v1")
            done = home("load", "-q", "--json", home.spec(greeting), *words, env=env)
            loaded = json.loads(done.stdout)
            assert loaded["streamed"] is far
            assert ("podman can't reach a server on this machine" in done.stderr) is far
        assert (loaded["bytes_sent"] > MB) is far
    assert f"sha256:{engine_target('podman', podman).image('test/service:v1')}" == loaded["image"]
    assert engine_target("podman", podman).passing() == set()
    podman.rmi("test/service:v1")
