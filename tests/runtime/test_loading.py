"""`nixdock load`, `run` and `serve` with real Docker, Podman and containerd, and other readers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import nixdock

from .command import require_tool, wait_until
from .containerd import Containerd
from .engine import Docker, Engine, Podman
from .oci_tools import Skopeo, Umoci

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]

MB = 1_000_000
BUSYBOX, APP = (
    f"/nix/store/{letter * 32}-{name}"
    for letter, name in zip("ab", ("busybox", "app"), strict=True)
)


@dataclass(frozen=True)
class Home:
    """A user's home with a store that has a large package and a small app."""

    directory: Path

    @property
    def scratch(self) -> Path:
        return self.directory / "tmp"

    def spec(self, greeting: str, size: int = 2 * MB) -> Path:
        """Write a spec whose app says something."""
        root = self.directory / "root"
        busybox, app = (Path(f"{root}{path}") for path in (BUSYBOX, APP))
        if not busybox.exists():
            (busybox / "bin").mkdir(parents=True)
            (busybox / "bin/busybox").write_bytes(Path(require_tool("busybox")).read_bytes())
            (busybox / "bin/busybox").chmod(0o555)
            (busybox / "data").write_bytes(os.urandom(1 << 20) * (size >> 20))
            app.mkdir()
        script = app / "run"
        script.unlink(missing_ok=True)
        script.write_text(f'#!{BUSYBOX}/bin/busybox sh\necho {greeting} "$@"; exit 3\n')
        script.chmod(0o555)
        graph = [
            {
                "path": path,
                "narSize": 1000,
                "references": references,
                "narHash": f"sha256:{sha256(text.encode()).hexdigest()}",
            }
            for path, references, text in ((BUSYBOX, [], "busybox"), (APP, [BUSYBOX], greeting))
        ]
        (self.directory / "graph.json").write_text(json.dumps(graph))
        spec = self.directory / "spec.json"
        spec.write_text(
            json.dumps(
                {
                    "version": 1,
                    "name": "test/greeting",
                    "tag": "v1",
                    "closure": {"graph": "graph.json"},
                    "store": {"root": str(root)},
                    "config": {"Entrypoint": [f"{APP}/run"]},
                }
            )
        )
        return spec

    def environment(self, other: Mapping[str, str]) -> dict[str, str]:
        return {
            **other,
            "HOME": str(self.directory),
            "XDG_CACHE_HOME": str(self.directory),
            "TMPDIR": str(self.scratch),
        }

    def __call__(
        self, *arguments: object, env: Mapping[str, str], check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run nixdock; nothing of it may stay."""
        done = subprocess.run(
            [sys.executable, "-m", "nixdock", *map(str, arguments)],
            env=self.environment(env),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0 or not check, done.stderr
        assert left_behind(self) == []
        return done


def left_behind(home: Home) -> list[str]:
    # Podman has directories of its own there.
    return [file.name for file in home.scratch.iterdir() if file.name.startswith("nixdock")]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "tmp").mkdir()
    return Home(tmp_path)


@dataclass(frozen=True)
class Target:
    """A runtime, what nixdock needs to find it, and how to ask it."""

    name: str
    env: Mapping[str, str]
    options: list[str]
    names: Callable[[], str]
    image: Callable[[str], str]


def engine_target(name: str, engine: Engine) -> Target:
    def image(reference: str) -> str:
        found: str = engine.inspect(reference)["Id"].removeprefix("sha256:")
        return found

    def names() -> str:
        return engine("images", "--all", "--digests").stdout

    options = [*engine.container_options, "--network=none", "--pull=never"]
    return Target(name, engine.env, [*(f"--option={each}" for each in options)], names, image)


def containerd_target(runtime: Containerd) -> Target:
    env = {
        **runtime.env,
        "CONTAINERD_ADDRESS": str(runtime.socket),
        "CONTAINERD_SNAPSHOTTER": "native",
    }

    def image(reference: str) -> str:
        listed = runtime("images", "ls", f"name==docker.io/{reference}").stdout
        digest = re.search(r"sha256:[0-9a-f]{64}", listed)
        assert digest is not None
        manifest = json.loads(runtime("content", "get", digest[0]).stdout)
        found: str = manifest["config"]["digest"].removeprefix("sha256:")
        return found

    options = [f"--option=--cgroup={runtime.cgroup}/load"]
    return Target("containerd", env, options, lambda: runtime("images", "ls").stdout, image)


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
    assert all(layer["bytes_sent"] == layer["size"] for layer in first["layers"])

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


def test_a_runtime_that_is_elsewhere_gets_the_whole_image(home: Home, docker: Docker) -> None:
    """As for a daemon on another machine, the port of the server leads nowhere."""
    wrapper = home.directory / "bin/docker"
    wrapper.parent.mkdir()
    wrapper.write_text(
        '#!/bin/sh\n[ "$1" = pull ] && set -- pull 127.0.0.1:1/nothing\n'
        f'exec {docker.command[0]} "$@"\n'
    )
    wrapper.chmod(0o755)
    env = {**docker.env, "PATH": f"{wrapper.parent}:{docker.env['PATH']}"}
    target = Target("docker", env, [], lambda: docker("images").stdout, lambda _: "")
    found = load(home, target, home.spec("far"), "--tag", "test/far:v1", "--tag", "test/far:v2")
    assert found["streamed"] is True
    for tag in ("v1", "v2"):
        assert docker.inspect(f"test/far:{tag}")["Id"] == found["image"]


def test_a_layer_that_can_not_be_packed(home: Home, target: Target) -> None:
    """The runtime does not ask again and again, and the error is that of nixdock."""
    spec = home.spec(f"broken {target.name}")
    home("serve", "--for", "0.01", "--compression", "none", spec, env=os.environ)
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
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\nif [ "$1" = pull ]; then\n'
        f'{docker.command[0]} "$@"; >{started}; exec sleep 617\nfi\n'
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
    assert b"sleep\x00617\x00" not in set(_commands())
    names = docker("images", "--all", "--digests").stdout
    assert "127.0.0.1" not in names
    assert "test/no" not in names


def _commands() -> Iterator[bytes]:
    """Give the command lines of all processes."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield (process / "cmdline").read_bytes()


@contextmanager
def served(home: Home, *arguments: object) -> Iterator[tuple[str, int]]:
    """Serve images by another process; yield the reference of the first one, and the process."""
    with subprocess.Popen(
        [sys.executable, "-m", "nixdock", "serve", "-q", *map(str, arguments)],
        env=home.environment(os.environ) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert process.returncode == 0
    assert left_behind(home) == []


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_other_tools_read_what_is_served(
    home: Home, skopeo: Skopeo, umoci: Umoci, compression: str
) -> None:
    spec, layout = home.spec("tools"), home.directory / "layout"
    built = nixdock.image_digests(nixdock.read_spec(spec), compression=compression)
    with served(home, spec, "--compression", compression) as (reference, _):
        assert skopeo.digest(f"docker://{reference}") == built.manifest.digest
        skopeo.copy(f"docker://{reference}", f"oci:{layout}:v1", preserve_digests=True)
    umoci.validate(layout, "v1")
    assert skopeo.digest(f"oci:{layout}:v1") == built.manifest.digest


def test_engines_pull_what_is_served(home: Home, docker: Docker, podman: Podman) -> None:
    with served(home, home.spec("pulled")) as (reference, _):
        for engine in (docker, podman):
            name = engine.pull(reference)
            done = engine.run(name, check=False)
            assert (done.returncode, done.stdout) == (3, "pulled\n")
            engine.rmi(name)


def test_many_clients_need_little_memory(home: Home) -> None:
    spec = home.spec("many", size=64 << 20)
    with served(home, spec, "--compression", "none", "--no-cache") as (reference, process):
        address, _, path = reference.partition("/")
        repository, _, tag = path.rpartition(":")
        url = f"http://{address}/v2/{repository}"
        with urllib.request.urlopen(f"{url}/manifests/{tag}") as answer:
            blobs = {each["digest"]: each["size"] for each in json.load(answer)["layers"]}
        digest = max(blobs, key=lambda each: blobs[each])

        def fetch(_: int) -> str:
            hashed = sha256()
            with urllib.request.urlopen(f"{url}/blobs/{digest}", timeout=120) as answer:
                while chunk := answer.read(1 << 20):
                    hashed.update(chunk)
            return f"sha256:{hashed.hexdigest()}"

        with ThreadPoolExecutor(32) as pool:
            assert set(pool.map(fetch, range(32))) == {digest}
        status = Path(f"/proc/{process}/status").read_text()
    peak = re.search(r"VmHWM:\s*(\d+) kB", status)
    assert peak is not None
    assert int(peak[1]) * 1000 < 250 * MB
