"""containerd, as Kubernetes nodes have it, without Docker around it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .command import Daemon, require_tool, run_tool
from .engine import environment_without
from .workspace import workspace


@dataclass(frozen=True)
class Containerd:
    """A containerd daemon and its command line; containers share the host's network."""

    program: str
    socket: Path
    cgroup: str
    env: Mapping[str, str]

    def __call__(self, *args: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Any subcommand."""
        argv = [self.program, "--address", self.socket, *args]
        return run_tool(argv, env=self.env, check=check)

    def load(self, archive: Path) -> list[str]:
        """Import an archive; the names of all images there are."""
        self("images", "import", "--snapshotter", "native", archive)
        return self("images", "ls", "--quiet").stdout.split()

    def save(self, image: str, archive: Path) -> None:
        """Export an image."""
        self("images", "export", archive, image)

    def run(self, image: str, container: str) -> str:
        """Run a container to its end; what it prints."""
        options = ["--rm", "--snapshotter", "native", "--cgroup", f"{self.cgroup}/{container}"]
        return self("run", *options, image, container).stdout


@contextmanager
def containerd_daemon() -> Iterator[Containerd]:
    """Start a containerd daemon."""
    if os.geteuid() != 0:
        pytest.fail("a containerd daemon needs root", pytrace=False)
    with workspace() as space:
        socket = space.root / "c.sock"
        config = space.file(
            "containerd.toml",
            "version = 2\n"
            f'root = "{space.directory("root")}"\n'
            f'state = "{space.directory("state")}"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
            f'[grpc]\naddress = "{socket}"\n'
            f'[ttrpc]\naddress = "{space.root}/t.sock"\n',
        )
        env = environment_without("CONTAINERD_")
        runtime = Containerd(require_tool("ctr"), socket, space.cgroup, env)
        daemon = Daemon.start(
            [require_tool("containerd"), "--config", config],
            space.root / "containerd.log",
            env=env,
            ready=lambda: runtime("version", check=False).returncode == 0,
        )
        try:
            yield runtime
        finally:
            daemon.stop()
