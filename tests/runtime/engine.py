"""Docker and Podman, each with storage, configuration and sockets of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from .command import Daemon, ToolError, require_tool, run_tool
from .workspace import Workspace, workspace

IN_CONTAINERD = "NIXDOCK_TEST_DOCKER_IN_CONTAINERD"
"""The variable with which Docker keeps images in containerd."""

PODMAN_HELPERS = "NIXDOCK_TEST_PODMAN_HELPERS"
"""The variable with the directory of the programs that Podman calls, if they are elsewhere."""

_SNAPSHOTTERS = ("overlayfs", "native")


@dataclass(frozen=True)
class Engine:
    """What both command lines have in common. Nothing is ever fetched unless by `pull`."""

    command: Sequence[str]
    env: Mapping[str, str]
    image_options: Sequence[str] = ()
    pull_options: Sequence[str] = ()
    container_options: Sequence[str] = ()

    def __call__(
        self,
        *args: str | Path,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        check: bool = True,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Any other subcommand."""
        return run_tool(
            [*self.command, *args], env=self.env, stdin=stdin, check=check, timeout=timeout
        )

    def load(self, archive: Path | int | IO[bytes]) -> str:
        """Load a file or a stream; the first reference in it, or the image's id if it has none."""
        return self.load_all(archive)[0]

    def load_all(self, archive: Path | int | IO[bytes]) -> list[str]:
        """Load a file or a stream; all its references."""
        if isinstance(archive, Path):
            done = self("load", *self.image_options, "--input", archive)
        else:
            done = self("load", *self.image_options, stdin=archive)
        loaded = re.findall(r"^Loaded image(?: ID|\(s\))?: (.+)$", done.stdout, re.MULTILINE)
        if not loaded:
            raise ToolError(f"{self.command[0]} load names no image:\n{done.stdout}{done.stderr}")
        return [name for line in loaded for name in line.strip().split(",")]

    def pull(self, reference: str, *options: str) -> str:
        """Fetch an image and return its local name."""
        flags = [*self.image_options, *self.pull_options, "--quiet", *options]
        return self("pull", *flags, reference).stdout.split()[-1]

    def run(
        self,
        image: str,
        *args: str,
        network: str = "none",
        options: Sequence[str] = (),
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a container to its end."""
        head = self._run_argv(network, options)
        return self(*head, "--rm", image, *args, stdin=stdin, check=check, timeout=timeout)

    def start(
        self, image: str, *args: str, network: str = "host", options: Sequence[str] = ()
    ) -> str:
        """Start a container in the background; its id."""
        return self(*self._run_argv(network, options), "--detach", image, *args).stdout.strip()

    def stop(self, container: str) -> None:
        """Kill and remove a container."""
        self._remove([container])

    @contextmanager
    def running(
        self, image: str, *args: str, network: str = "host", options: Sequence[str] = ()
    ) -> Iterator[str]:
        """A container in the background for the length of a block."""
        container = self.start(image, *args, network=network, options=options)
        try:
            yield container
        finally:
            self.stop(container)

    def exec(
        self, container: str, *args: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a running container."""
        return self("exec", container, *args, check=check, timeout=timeout)

    def logs(self, container: str) -> str:
        """What the container has written to both of its outputs."""
        done = self("logs", container)
        return done.stdout + done.stderr

    def inspect(self, image: str) -> dict[str, Any]:
        """The engine's own view of an image."""
        found: list[dict[str, Any]] = json.loads(self("image", "inspect", image).stdout)
        return found[0]

    def save(self, image: str, path: Path, *options: str) -> None:
        """Write an image to an archive."""
        self("save", *options, "--output", path, image)

    def rmi(self, image: str) -> None:
        """Remove an image."""
        self("rmi", "--force", image)

    def remove_containers(self) -> None:
        """Kill and remove every container."""
        if containers := self("ps", "--all", "--quiet").stdout.split():
            self._remove(containers)

    def _remove(self, containers: Sequence[str]) -> None:
        # Podman's `rm --force` first waits for those that ignore SIGTERM, as a process 1 may.
        self("kill", *containers, check=False)
        self("rm", "--force", "--volumes", *containers)

    def _run_argv(self, network: str, options: Sequence[str]) -> list[str]:
        return ["run", "--pull=never", f"--network={network}", *self.container_options, *options]


@dataclass(frozen=True)
class Docker(Engine):
    """A Docker daemon without a bridge: networks are `none` and `host`."""

    storage_driver: str = "overlay2"

    @property
    def is_in_containerd(self) -> bool:
        """Whether containerd keeps the images."""
        return self.storage_driver in _SNAPSHOTTERS


@dataclass(frozen=True)
class Podman(Engine):
    """Podman; `pull` takes any transport, such as `oci:DIRECTORY:TAG`, and needs no TLS."""

    storage_driver: str = "overlay"


def environment_without(*prefixes: str) -> dict[str, str]:
    """Return this process's environment without variables that name the user's own setup."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


@contextmanager
def docker_daemon(within: Sequence[str] = ()) -> Iterator[Docker]:
    """Start a Docker daemon, with the best storage driver that works here.

    `within` is a command that starts it somewhere else, such as in another network.
    """
    if os.geteuid() != 0:
        pytest.fail("a Docker daemon needs root", pytrace=False)
    with workspace() as space:
        env = environment_without("DOCKER_") | {
            "DOCKER_HOST": f"unix://{space.root}/docker.sock",
            "DOCKER_CONFIG": str(space.directory("client")),
            "TMPDIR": str(space.directory("tmp")),
        }
        client = [require_tool("docker")]
        daemon, driver = _start_dockerd(space, env, client, within)
        docker = Docker(client, env, storage_driver=driver)
        try:
            yield docker
        finally:
            try:
                docker.remove_containers()
            finally:
                daemon.stop()


def _start_dockerd(
    space: Workspace, env: Mapping[str, str], client: Sequence[str], within: Sequence[str]
) -> tuple[Daemon, str]:
    program = require_tool("dockerd")
    version = run_tool([program, "--version"]).stdout
    major = re.search(r"version (\d+)", version)
    # Old daemons write a key outside their data root unless told where; new ones reject the option.
    settings: dict[str, Any] = (
        {"deprecated-key-path": f"{space.root}/key.json"} if major and int(major[1]) < 23 else {}
    )
    in_containerd = IN_CONTAINERD in os.environ
    if in_containerd:
        settings["features"] = {"containerd-snapshotter": True}
    config = space.file("daemon.json", json.dumps(settings))
    failures = []
    for driver in _SNAPSHOTTERS if in_containerd else ("overlay2", "vfs"):
        argv = [
            *within,
            program,
            f"--config-file={config}",
            f"--data-root={space.directory(f'data-{driver}')}",
            f"--exec-root={space.directory('exec')}",
            f"--pidfile={space.root}/docker.pid",
            f"--host={env['DOCKER_HOST']}",
            f"--storage-driver={driver}",
            f"--cgroup-parent={space.cgroup}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            "--shutdown-timeout=1",
        ]
        try:
            daemon = Daemon.start(
                argv,
                space.root / f"dockerd-{driver}.log",
                env=env,
                ready=lambda: run_tool([*client, "version"], env=env, check=False).returncode == 0,
            )
        except ToolError as failure:
            failures.append(str(failure))
        else:
            return daemon, driver
    raise ToolError("\n".join(failures))


@contextmanager
def podman_storage(pull_options: Mapping[str, str] | None = None) -> Iterator[Podman]:
    """Set up Podman, with the best storage driver that works here.

    `pull_options` are those of containers-storage.conf(5).
    """
    program, runtime = require_tool("podman"), require_tool("runc")
    with workspace() as space:
        policy = space.file("policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}\n')
        failures = []
        for driver in ("overlay", "vfs"):
            podman = Podman(
                [
                    program,
                    f"--runtime={runtime}",
                    f"--runtime-flag=root={space.directory('runc')}",
                    "--cgroup-manager=cgroupfs",
                ],
                podman_environment(space, driver, pull_options or {}),
                image_options=[f"--signature-policy={policy}"],
                pull_options=["--tls-verify=false"],
                container_options=[
                    f"--cgroup-parent={space.cgroup}",
                    "--ulimit=nofile=1024:1024",
                    "--ulimit=nproc=1024:1024",
                ],
                storage_driver=driver,
            )
            probe = podman("info", check=False)
            if probe.returncode == 0:
                break
            failures.append(probe.stderr)
        else:
            raise ToolError("podman info\n" + "\n".join(failures))
        try:
            yield podman
        finally:
            podman.remove_containers()


def podman_environment(
    space: Workspace, driver: str, pull_options: Mapping[str, str]
) -> dict[str, str]:
    home = space.directory(driver)
    options = ", ".join(f'{key} = "{value}"' for key, value in pull_options.items())
    storage = (
        f'[storage]\ndriver = "{driver}"\ngraphroot = "{home}/graph"\nrunroot = "{home}/run"\n'
        f"[storage.options]\npull_options = {{{options}}}\n"
    )
    helpers = os.environ.get(PODMAN_HELPERS)
    elsewhere = f"helper_binaries_dir = {json.dumps([helpers])}\n" if helpers else ""
    engine = (
        '[containers]\nlog_driver = "k8s-file"\n'
        f'[network]\nnetwork_config_dir = "{home}/networks"\n'
        '[engine]\nevents_logger = "file"\nlock_type = "file"\n'
        f'tmp_dir = "{home}/tmp"\n{elsewhere}'
    )
    return environment_without("CONTAINER", "PODMAN_", "STORAGE_", "REGISTRY_") | {
        "CONTAINERS_CONF": str(space.file(f"{driver}-containers.conf", engine)),
        "CONTAINERS_REGISTRIES_CONF": str(space.file("registries.conf", "")),
        "CONTAINERS_STORAGE_CONF": str(space.file(f"{driver}-storage.conf", storage)),
        "REGISTRY_AUTH_FILE": str(space.file("auth.json", "{}")),
        "TMPDIR": str(space.directory("tmp")),
        "XDG_RUNTIME_DIR": str(space.directory("runtime")),
    }
