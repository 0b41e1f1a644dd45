"""`nixdock load` where a runtime can't pull from here: remote daemons, and nodes of Kubernetes.

Docker and containerd are real; kind, k3s, minikube and nerdctl are programs that call them, or that
note what they are called with.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from .command import require_tool
from .containerd import Containerd
from .engine import Docker, docker_daemon
from .forwarder import forwarded
from .home import MB, Home

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]


@pytest.fixture(scope="module")
def far_docker() -> Iterator[Docker]:
    """A daemon in another network, which a port leads to, but from which nothing leads back."""
    shell = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    with docker_daemon([require_tool("unshare"), "--net", *shell]) as docker:
        socket = Path(docker.env["DOCKER_HOST"].removeprefix("unix://"))
        with forwarded(socket) as port:
            yield replace(docker, env={**docker.env, "DOCKER_HOST": f"tcp://127.0.0.1:{port}"})


@dataclass(frozen=True)
class Machine:
    """A home and programs in PATH, before those of the system."""

    home: Home
    env: Mapping[str, str]

    def install(self, name: str, script: str) -> None:
        program = self.home.directory / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        return {**self.env, "PATH": f"{self.home.directory}/bin:{self.env['PATH']}"}

    def run(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.home(*arguments, env=self.environment, check=check)

    def load(self, into: str, *arguments: object) -> dict[str, Any]:
        done = self.run("load", "--json", "--into", into, *arguments)
        assert "the whole image is sent" not in done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def calls(self) -> list[str]:
        return (self.home.directory / "calls").read_text().splitlines()


def sent(loaded: Mapping[str, Any]) -> list[str]:
    return [layer["comment"] for layer in loaded["layers"] if layer["bytes_sent"]]


ALL = ["1 store path: busybox", "1 store path: app", "the image's own files"]


def test_a_daemon_elsewhere_gets_what_it_lacks(home: Home, far_docker: Docker) -> None:
    machine = Machine(home, far_docker.env)
    first = machine.load("docker", home.spec("one"), "--tag", "test/far:v1")
    assert (first["streamed"], sent(first)) == (True, ALL)

    again = machine.load("docker", home.spec("one"), "--tag", "test/far:v1")
    assert (again["image"], sent(again)) == (first["image"], [])
    assert again["bytes_sent"] == 0

    changed = machine.load(
        "docker", home.spec("two"), "--tag", "test/far:v1", "--tag", "test/far:v2"
    )
    # Docker knows layers only together with those below, but containerd each by itself.
    assert sent(changed) == (ALL[1:2] if far_docker.is_in_containerd else ALL[1:])
    assert changed["bytes_sent"] < MB
    for tag in ("v1", "v2"):
        identity = "digest" if far_docker.is_in_containerd else "image"
        assert far_docker.inspect(f"test/far:{tag}")["Id"] == changed[identity]
        assert far_docker.run(f"test/far:{tag}", check=False).stdout == "two\n"
    listed = far_docker("images", "--all", "--digests").stdout
    assert "127.0.0.1" not in listed
    assert "nixdock.invalid" not in listed
    # Nothing of it is missing.
    far_docker.save("test/far:v2", home.directory / "saved.tar")
    home("inspect", home.directory / "saved.tar", env=os.environ)


def test_layers_of_other_images_are_known_there(home: Home, far_docker: Docker) -> None:
    """Also those of `docker load`, which a pull does not know."""
    archive = home.directory / "image.tar"
    spec = home.spec("archive")
    home("build", "-q", spec, "-o", archive, "--format", "docker-archive", env=os.environ)
    far_docker.load(archive)
    loaded = Machine(home, far_docker.env).load("docker", spec, "--tag", "test/known:v1")
    assert sent(loaded) == []


def test_it_runs_elsewhere(home: Home, far_docker: Docker) -> None:
    options = [*far_docker.container_options, "--network=none", "--pull=never"]
    words = [*(f"--option={each}" for each in options), "--tag", "test/run:v1", "--", "to", "you"]
    done = Machine(home, far_docker.env).run("run", "-q", home.spec("hi"), *words, check=False)
    assert (done.stdout, done.returncode) == ("hi to you\n", 3), done.stderr


@pytest.fixture
def node(home: Home, containerd: Containerd) -> Machine:
    """A machine with kind, and Docker with its two nodes, which are the same containerd."""
    machine = Machine(home, containerd.env)
    log = home.directory / "calls"
    machine.install("kind", f'echo "kind $*" >>{log}; echo one two balancer')
    ctr = f"exec {containerd.program} --address {containerd.socket}"
    machine.install(
        "docker",
        f"""echo "docker $*" >>{log}
        case $1:$4 in
            inspect:balancer) echo external-load-balancer ;;
            inspect:*) echo worker ;;
            *) shift 3
               if [ $1 = containerd ]; then echo '  snapshotter = "native"'; exit; fi
               shift; {ctr} "$@" ;;
        esac""",
    )
    return machine


def test_the_nodes_of_kind_get_what_they_lack(node: Machine, containerd: Containerd) -> None:
    first = node.load("kind", node.home.spec("one"), "--tag", "kind/app:v1")
    # The second node has the contents of the first one.
    assert (first["runtime"], first["streamed"], sent(first)) == ("kind", True, ALL)
    name = "docker.io/kind/app:v1"
    assert name in containerd("--namespace=k8s.io", "images", "ls", "--quiet").stdout.split()
    calls = node.calls()
    assert calls[0] == "kind get nodes"
    imports = [call for call in calls if "images import" in call]
    assert imports == [
        f"docker exec --interactive {each} ctr --namespace=k8s.io images import"
        " --snapshotter=native -"
        for each in ("one", "two")
    ]

    changed = node.load("kind", node.home.spec("two"), "--tag", "kind/app:v1")
    # Unlike Docker, containerd knows each blob by itself.
    assert sent(changed) == ["1 store path: app"]
    assert changed["bytes_sent"] < MB
    listed = containerd("--namespace=k8s.io", "images", "check").stdout
    assert changed["digest"] in listed
    assert "nixdock.invalid" not in listed
    assert sent(node.load("kind", node.home.spec("two"), "--tag", "kind/app:v1")) == []


def test_kind_without_nodes(home: Home, node: Machine) -> None:
    node.install("kind", "exit 0")
    done = node.run("load", "-q", "--into", "kind", home.spec("one"), check=False)
    assert done.returncode == 1
    assert "kind has no nodes; create a cluster with `kind create cluster`" in done.stderr
    node.install("kind", "echo one")
    node.install("docker", "echo 'no such container' >&2; exit 1")
    environment = {"KIND_EXPERIMENTAL_PROVIDER": "docker"}
    machine = Machine(home, {**node.env, **environment})
    done = machine.run("load", "-q", "--into", "kind", home.spec("one"), check=False)
    assert "kind's node one is nowhere: docker inspect failed: no such container" in done.stderr


def test_k3s_pulls(home: Home, containerd: Containerd) -> None:
    env = {**containerd.env, "CONTAINERD_SNAPSHOTTER": "native", "CONTAINERD_NAMESPACE": "k8s.io"}
    machine = Machine(home, env)
    machine.install("k3s", f'shift; exec {containerd.program} --address {containerd.socket} "$@"')
    loaded = machine.load("k3s", home.spec("three"), "--tag", "k3s/app:v1")
    assert (loaded["runtime"], loaded["streamed"]) == ("k3s", False)
    listed = containerd("--namespace=k8s.io", "images", "ls", "--quiet").stdout
    assert "docker.io/k3s/app:v1" in listed.split()
    assert "127.0.0.1" not in listed
    assert sent(machine.load("k3s", home.spec("four"), "--tag", "k3s/app:v1")) == [ALL[1]]


def test_the_docker_of_minikube(home: Home, far_docker: Docker) -> None:
    host = json.dumps({"DOCKER_HOST": far_docker.env["DOCKER_HOST"], "MINIKUBE_ACTIVE": "minikube"})
    env = {**far_docker.env, "DOCKER_HOST": "unix:///nowhere"}
    machine = Machine(home, env)
    machine.install("minikube", f"[ $1 = docker-env ] || exit 1\necho '{host}'")
    machine.load("minikube", home.spec("one"), "--tag", "mini/app:v1")
    changed = machine.load("minikube", home.spec("two"), "--tag", "mini/app:v1")
    assert (changed["runtime"], sent(changed)) == ("minikube", ALL[1:])
    assert far_docker.inspect("mini/app:v1")["Id"] == changed["image"]


@pytest.mark.parametrize(
    "answer", ["exit 14", "echo null", 'echo \'{"DOCKER_HOST": "ssh://docker@127.0.0.1"}\'']
)
def test_minikube_without_docker(home: Home, answer: str) -> None:
    machine = Machine(home, os.environ)
    archive = home.directory / "archive.tar"
    script = f"""case "$*" in
        docker-env*) {answer} ;;
        "image load -") cat >{archive} ;;
        "image ls") [ -e {archive} ] && echo docker.io/mini/app:v1 ;;
    esac"""
    machine.install("minikube", script)
    loaded = machine.load("minikube", home.spec("one"), "--tag", "mini/app:v1")
    assert sent(loaded) == ALL
    home("verify", archive, env=os.environ)
    found = json.loads(home("inspect", "--json", archive, env=os.environ).stdout)
    assert loaded["image"] in json.dumps(found)
    machine.install("minikube", script.replace("docker.io/mini", "docker.io/other"))
    done = machine.run("load", "-q", home.spec("one"), "--into", "minikube", check=False)
    assert done.returncode == 1
    assert "minikube has no image test/greeting:v1 after it was sent" in done.stderr


def test_what_nerdctl_is_called_with(home: Home) -> None:
    machine = Machine(home, os.environ)
    log = home.directory / "calls"
    machine.install("nerdctl", f'echo "$*" >>{log}\n[ $1 = version ] || [ $1 != pull ] || exit 1')
    done = machine.run("load", "--into", "nerdctl", home.spec("one"), check=False)
    assert "nerdctl can't reach a server on this machine" in done.stderr
    version, replaced, pull, remove, load, inspect = machine.calls()
    assert version == "version"
    assert pull.startswith("pull --quiet --insecure-registry 127.0.0.1:")
    assert remove == f"rmi {pull.split()[-1]}"
    assert load == "load --quiet"
    assert inspect.startswith("image inspect --format ")
    assert inspect.endswith(" test/greeting:v1")
    assert replaced == inspect
    assert "nerdctl has another image as test/greeting:v1 than the one it was sent" in done.stderr


@pytest.mark.parametrize("name", ["kind", "minikube"])
def test_kubernetes_runs_containers_itself(home: Home, name: str) -> None:
    done = home("run", home.spec("one"), "--into", name, env=os.environ, check=False)
    assert done.returncode == 2
    assert f"'{name}' is not one of" in done.stderr
