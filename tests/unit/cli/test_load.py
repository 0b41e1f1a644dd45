"""`nixdock load` and `run`, with a program in place of Docker or Podman."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.program import PROGRAM, environment, run_text
from tests.unit.stores.fake_cache import fake_cache
from tests.unit.stores.sample_cache import APP, KEY, sample

pytestmark = pytest.mark.slow

SampleSpec = Callable[..., Path]

IN_CONTAINERD = "io.containerd.snapshotter.v1"


@dataclass
class Machine:
    """A home, a directory for temporary files, and programs in place of engines."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("home", "tmp", "bin"):
            (self.root / name).mkdir()
        # No real engine.
        self.env = environment(
            HOME=str(self.root / "home"),
            XDG_CACHE_HOME=str(self.root / "home"),
            TMPDIR=str(self.root / "tmp"),
            FAKE_ENGINE=str(self.root / "state.json"),
            PATH=str(self.root / "bin"),
        )

    def install(self, name: str, kind: str = "") -> None:
        script = Path(__file__).with_name("fake_engine.py")
        program = self.root / "bin" / name
        words = shlex.join([sys.executable, "-S", str(script), kind or name])
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o755)

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "state.json").read_text())
        return found

    def set_state(self, **changes: Any) -> None:
        state = {"names": {}, "images": {}, "blobs": [], "log": []} | changes
        (self.root / "state.json").write_text(json.dumps(state))

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        done = run_text(*arguments, env=self.env)
        assert [*(self.root / "tmp").iterdir()] == []
        return done

    def load(self, *arguments: object) -> dict[str, Any]:
        done = self("load", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def spec(sample_spec: SampleSpec, tmp_path: Path) -> Path:
    """A spec that needs no shell, which is not in this PATH."""
    return sample_spec(tmp_path, extra_commands="")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "machine").mkdir()
    return Machine(tmp_path / "machine")


# What names without a host start with.
HOSTS = {"docker": "", "podman": "localhost/"}


@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_only_what_is_missing_is_sent(
    sample_spec: SampleSpec, spec: Path, tmp_path: Path, machine: Machine, kind: str
) -> None:
    machine.install(kind)
    first = machine.load(spec)
    name = HOSTS[kind] + "x/y:v1"
    assert (first["runtime"], first["names"], first["streamed"]) == (kind, [name], False)
    assert first["blobs"] == len(first["layers"]) + 1 == 6
    assert machine.state["names"] == {name: first["image"]}
    assert first["seconds"] >= 0

    again = machine.load(spec)
    assert (again["image"], again["blobs"], again["bytes_sent"]) == (first["image"], 0, 0)

    changed = machine.load(sample_spec(tmp_path, extra_commands="", contents=[]))
    sent = [layer for layer in changed["layers"] if layer["bytes_sent"]]
    assert [layer["comment"] for layer in sent] == ["the image's own files"]
    assert changed["blobs"] == 2
    assert changed["bytes_sent"] > sent[0]["size"]
    assert list(machine.state["names"]) == [name]


def test_the_image_is_the_one_in_an_archive(spec: Path, tmp_path: Path, machine: Machine) -> None:
    machine.install("docker")
    archive = tmp_path / "image.tar"
    assert machine("build", spec, "-o", archive, "--format", "docker-archive").returncode == 0
    with tarfile.open(archive) as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        config = f"sha256:{json.load(file)[0]['Config'].removesuffix('.json')}"
    assert machine.load(spec)["image"] == config
    again = machine.load(f"docker-archive:{archive}", "--tag", "a:b", "--tag", "c:d")
    assert (again["image"], again["names"], again["blobs"]) == (config, ["a:b", "c:d"], 0)


def test_the_plan_of_a_previous_image_is_continued(
    sample_spec: SampleSpec, tmp_path: Path, machine: Machine
) -> None:
    machine.install("docker")
    few = tmp_path / "few.tar"
    spec = sample_spec(tmp_path, extra_commands="", layering={}, max_layers=3)
    assert machine("build", spec, "-o", few).returncode == 0
    spec = sample_spec(tmp_path, extra_commands="", layering={})
    assert len(machine.load(spec, "--previous", few)["layers"]) == 3
    done = machine("load", few, "--previous", few)
    assert (done.returncode, "--previous is for a spec" in done.stderr) == (2, True)
    done = machine("load", spec, "--previous", few, "--no-previous")
    assert (done.returncode, "mutually exclusive" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("kind", "state"),
    [("docker", {}), ("podman", {}), ("docker", {"remote": True, "driver": IN_CONTAINERD})],
)
def test_the_image_with_that_name_is_the_previous_one(
    sample_spec: SampleSpec, tmp_path: Path, machine: Machine, kind: str, state: dict[str, Any]
) -> None:
    machine.install(kind)
    machine.set_state(**state)
    few = machine.load(sample_spec(tmp_path, extra_commands="", layering={}, max_layers=3))
    spec = sample_spec(tmp_path, extra_commands="", layering={})
    # What continues a plan is a previous image in turn.
    for _ in range(2):
        continued = machine.load(spec)
        assert continued["layers"] == [{**each, "bytes_sent": 0} for each in few["layers"]]
    assert machine("run", "-q", spec).returncode == 0
    own = machine.state["names"][HOSTS[kind] + "x/y:v1"]
    assert own == continued["digest" if state else "image"]

    other_name = machine.load(spec, "--tag", "another:v1")
    assert len(other_name["layers"]) == 5
    # The first one that has a memory counts, of several names.
    assert len(machine.load(spec, "--tag", "new:v1", "--tag", "x/y:v1")["layers"]) == 3
    resolved = tmp_path / "resolved.json"
    assert machine("resolve", spec, "-o", resolved).returncode == 0
    assert len(machine.load(resolved, "--tag", "x/y:v1")["layers"]) == 5
    # That image is there, but its documents are not.
    machine.load(sample_spec(tmp_path, extra_commands="", layering={}, max_layers=3))
    spec = sample_spec(tmp_path, extra_commands="", layering={})
    assert len(machine.load(spec, "--no-cache")["layers"]) == 5


def test_a_load_without_memory(sample_spec: SampleSpec, tmp_path: Path, machine: Machine) -> None:
    machine.install("docker")
    few = sample_spec(tmp_path, extra_commands="", layering={}, max_layers=3)
    spec = sample_spec(tmp_path / "other", extra_commands="", layering={})
    documents = machine.root / "home/nixdock/documents"

    machine.load(few)
    assert len(machine.load(spec, "--no-previous")["layers"]) == 5
    machine.load(few, "--no-previous")
    for file in documents.iterdir():
        # Another image's document would be forged.
        file.write_bytes(file.read_bytes() + b" ")
    assert len(machine.load(spec)["layers"]) == 5

    machine.load(few, "--no-previous")
    shutil.rmtree(documents)
    machine.load(few, "--no-cache", "--no-previous")
    assert not documents.exists()
    assert len(machine.load(spec)["layers"]) == 5

    forgetful = {"layering": {"memory": False}}
    shutil.rmtree(documents)
    machine.load(sample_spec(tmp_path, extra_commands="", max_layers=3, **forgetful))
    assert not documents.exists()


def test_the_closure_may_be_in_a_binary_cache(tmp_path: Path, machine: Machine) -> None:
    """Only layers that the runtime asks for are fetched."""
    machine.install("docker")
    closure = sample(tmp_path / "closure")
    spec, words = tmp_path / "spec.json", ["--root", APP, "--trusted-public-key", KEY]
    document = {"version": 1, "name": "x", "closure": {"graph": "/none"}, "contents": [APP]}
    spec.write_text(json.dumps(document))
    machine.env["NIX_CONF_DIR"] = "/none"
    with fake_cache(closure.cache(tmp_path / "cache", listings=True)) as cache:
        words += ["--store", cache.url]
        first = machine.load(spec, *words)
        assert first["blobs"] == len(first["layers"]) + 1
        cache.log.clear()
        again = machine.load(spec, *words)
        assert (again["image"], again["blobs"]) == (first["image"], 0)
        assert [name for name in cache.names if name.startswith("nar/")] == []
        assert machine("run", "-q", spec, *words, "--", "it").stdout.endswith(" it\n")
        done = machine("load", spec, *words[:2], "--store", cache.url)
        assert (done.returncode, "is signed by test-1, whose public key" in done.stderr) == (
            1,
            True,
        )
        assert machine.load(spec, *words[:2], "--store", cache.url, "--no-check-sigs") is not None
    for command in ("load", "run", "serve"):
        done = machine(command, "docker-archive:none", "--store", cache.url)
        assert done.returncode == 2
        assert "--store, --root and --realise are for a spec, not for an image" in done.stderr


def test_what_is_printed(spec: Path, machine: Machine) -> None:
    machine.install("podman")
    done = machine("load", spec, "--tag", "a/b:c", "--tag", "d")
    assert (done.returncode, done.stdout) == (0, "localhost/a/b:c\nlocalhost/x/y:d\n")
    assert "podman: 5 layers, 5 sent; " in done.stderr.splitlines()[-1]
    done = machine("load", "-q", spec, spec)
    assert (done.stdout, done.stderr) == ("localhost/x/y:v1\n" * 2, "")
    assert len(json.loads(machine("load", "--json", spec, spec).stdout)) == 2
    done = machine("load", "--json", spec, "none.tar")
    assert (done.returncode, len(json.loads(done.stdout))) == (2, 1), "what was loaded is told"
    done = machine("load", "--json", "none.tar", spec)
    assert (done.returncode, done.stdout) == (2, "")
    done = machine("load", spec, spec, "--tag", "a:b")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "error: --tag is for a single image",
    )


def test_what_was_loaded_before_an_interrupt_is_told(
    spec: Path, machine: Machine, tmp_path: Path
) -> None:
    machine.install("podman")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [*PROGRAM, "load", "--json", spec, pipe],
        env=machine.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while not process.stderr.readline().startswith("podman: 5 layers"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert [each["names"] for each in json.loads(out)] == [["localhost/x/y:v1"]]


def test_docker_comes_first_and_podman_may_have_its_name(spec: Path, machine: Machine) -> None:
    done = machine("load", spec)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: there is no runtime to load the image into: docker is not in PATH; podman is not in"
        " PATH; start Docker or install Podman, or name another one with --into"
    )
    machine.install("podman")
    assert machine.load(spec)["runtime"] == "podman"
    machine.install("docker")
    assert machine.load(spec)["runtime"] == "docker"
    assert machine.load(spec, "--into", "podman")["runtime"] == "podman"
    machine.install("docker", "podman")
    assert machine.load(spec)["runtime"] == "podman"
    assert [word for word in machine.state["log"] if "--tls-verify=false" in word]
    machine.set_state(fails=["version"])
    done = machine("load", spec)
    assert "docker version failed: the daemon refuses to version" in done.stderr
    done = machine("load", spec, "--into", "containerd")
    assert (done.returncode, done.stderr) == (1, "error: ctr is not in PATH\n")


def test_podman_may_have_no_other_name_than_that_of_docker(spec: Path, machine: Machine) -> None:
    machine.install("docker", "podman")
    done = machine("load", "-q", spec, spec)
    assert (done.returncode, done.stdout) == (0, "localhost/x/y:v1\n" * 2), done.stderr
    done = machine("run", "-q", spec)
    assert (done.returncode, done.stdout[:4]) == (0, "ran "), done.stderr
    assert machine.load(spec, "--into", "podman")["runtime"] == "podman"
    machine.install("docker")
    done = machine("load", "-q", spec, "--into", "podman")
    assert (done.returncode, done.stderr) == (1, "error: podman is not in PATH\n")


@pytest.mark.parametrize("existing", [False, True])
def test_a_runtime_that_can_not_reach_the_server(
    sample_spec: SampleSpec, spec: Path, tmp_path: Path, machine: Machine, existing: bool
) -> None:
    """It gets a stream without the layers that it has on top of the same ones."""
    machine.install("docker")
    machine.set_state(remote=True)
    done = machine("load", "--json", spec)
    assert "docker can't reach a server on this machine, so it is sent what it lacks" in done.stderr
    assert "connection refused" in done.stderr
    first = json.loads(done.stdout)
    assert (first["streamed"], first["names"], first["blobs"]) == (True, ["x/y:v1"], 6)

    source = sample_spec(tmp_path, extra_commands="", contents=[])
    if existing:
        archive = tmp_path / "image.tar"
        options = ("-o", archive, "--format", "docker-archive")
        assert machine("build", source, *options).returncode == 0
        source = archive
    done = machine("load", "--json", source, "--tag", "a/b:c", "--tag", "e:f")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["streamed"], found["names"], found["blobs"]) == (True, ["a/b:c", "e:f"], 2)
    # It is not asked to pull when it has a part.
    assert done.stderr.count("docker can't reach a server on this machine") == 0
    *below, top = found["layers"]
    assert [layer["bytes_sent"] for layer in below] == [0, 0, 0, 0]
    assert top["bytes_sent"] == top["size"]
    assert {machine.state["names"][name] for name in ("a/b:c", "e:f")} == {found["image"]}
    everything, part = machine.state["loaded"]
    assert part < everything / 2

    again = machine.load(source)
    assert [layer["bytes_sent"] for layer in again["layers"]] == [0] * 5


@pytest.mark.parametrize(
    "state", [{"forgets": True}, {"forgets": True, "driver": IN_CONTAINERD}, {"kind": "podman"}]
)
def test_a_part_may_not_be_enough(
    sample_spec: SampleSpec, tmp_path: Path, machine: Machine, state: dict[str, Any]
) -> None:
    machine.install(state.get("kind", "docker"))
    machine.set_state(remote=True, **state)
    machine.load(sample_spec(tmp_path, extra_commands="", contents=[]))
    done = machine("load", "--json", sample_spec(tmp_path, extra_commands=""))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(layer["bytes_sent"] == layer["size"] for layer in found["layers"])
    fell_back = "the whole image is sent, because a part was not enough" in done.stderr
    assert fell_back is ("forgets" in state)


def test_blobs_in_containerd_are_remembered(
    sample_spec: SampleSpec, tmp_path: Path, machine: Machine
) -> None:
    machine.install("docker")
    machine.set_state(remote=True, driver=IN_CONTAINERD)
    first = machine.load(sample_spec(tmp_path, extra_commands="", contents=[]))
    changed = machine.load(sample_spec(tmp_path, extra_commands=""))
    sent = [layer["comment"] for layer in changed["layers"] if layer["bytes_sent"]]
    assert sent == ["the image's own files"]
    assert machine.state["names"] == {"x/y:v1": changed["digest"]}
    memory = machine.root / "home/nixdock/loads"
    assert {f"sha256:{file.name}" for file in memory.iterdir()} == {
        first["digest"],
        changed["digest"],
    }
    # Only images that are there count.
    machine.set_state(remote=True, driver=IN_CONTAINERD)
    again = machine.load(sample_spec(tmp_path, extra_commands=""))
    assert all(layer["bytes_sent"] == layer["size"] for layer in again["layers"])


def test_what_was_sent_is_verified(spec: Path, machine: Machine) -> None:
    machine.install("docker")
    machine.set_state(remote=True, images={"other": []}, mistakes="other")
    done = machine("load", "-q", spec)
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last == "error: docker has another image as x/y:v1 than the one it was sent"


@pytest.mark.parametrize("command", ["tag", "rmi"])
def test_a_runtime_that_refuses_something(spec: Path, machine: Machine, command: str) -> None:
    machine.install("docker")
    machine.set_state(fails=[command])
    done = machine("load", "-q", spec)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: docker {command} failed: the daemon refuses to {command}\n"
    # After a failure, no name of this server stays either, if the runtime allows it.
    assert any("127.0.0.1" in name for name in machine.state["names"]) is (command == "rmi")


def test_a_starter_that_ignores_the_ends_of_programs(spec: Path, machine: Machine) -> None:
    """Some daemons do, and `trap '' CHLD` in a shell: failures passed for successes."""
    machine.install("docker")
    machine.set_state(fails=["version"])
    ignoring = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
    starter = [sys.executable, "-c", f"{ignoring} os.execv(sys.argv[1], sys.argv[1:])"]
    done = subprocess.run(
        [*starter, *PROGRAM, "load", "-q", "--into", "docker", spec],
        env=machine.env,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"error: docker version failed: the daemon refuses to version\n"


def test_an_image_without_a_name(spec: Path, tmp_path: Path, machine: Machine) -> None:
    machine.install("docker")
    assert machine("copy", spec, f"oci:{tmp_path}/layout:v1").returncode == 0
    index = tmp_path / "layout/index.json"
    document = json.loads(index.read_text())
    del document["manifests"][0]["annotations"]["io.containerd.image.name"]
    index.write_text(json.dumps(document))
    done = machine("load", tmp_path / "layout")
    assert done.returncode == 2
    assert "has no name that a runtime takes; give it one, as NAME:TAG" in done.stderr
    assert machine.load(tmp_path / "layout", "--tag", "a:b")["names"] == ["a:b"]


def test_run_becomes_the_runtime(spec: Path, machine: Machine) -> None:
    machine.install("docker")
    machine.set_state(status=7)
    done = machine("run", "-q", spec, "--option=--publish=1:2", "--", "one", "--two")
    assert done.returncode == 7
    assert done.stdout == "ran --rm --interactive --pull=never --publish=1:2 x/y:v1 one --two\n"
    machine.set_state(fails=["run"])
    done = machine("run", "-q", spec)
    assert (done.returncode, done.stderr) == (1, "the daemon refuses to run\n")


def test_a_copy_to_the_daemon_is_a_load(spec: Path, machine: Machine) -> None:
    machine.install("docker")
    done = machine("copy", "-q", spec, "docker-daemon:a/b:c")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{machine.load(spec)['digest']}\n"
    assert list(machine.state["names"]) == ["a/b:c", "x/y:v1"]
    found = json.loads(machine("copy", "-q", "--json", spec, "docker-daemon:d:e").stdout)
    assert (found["names"], found["blobs"]) == (["d:e"], 0)
    done = machine("copy", spec, "docker-daemon:a", "--platform", "linux/arm64")
    assert done.returncode == 2
    assert "--platform is not for the daemon" in done.stderr
