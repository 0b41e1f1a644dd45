"""A user's home with a store, and nixdock called there; nothing of it may stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from subprocess import Popen

from ..unit.cli.program import run_text
from .command import ToolError, require_tool, wait_until

MB = 1_000_000
# Podman unpacks what it pulls in such directories, and keeps streams in such files.
_MADE_FOR_IMAGES = ("nixdock", "storage", "container_images", "podman", "libpod")
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
        # The name of the directory is that of the test: no other image has such a layer.
        script.write_text(
            f'#!{BUSYBOX}/bin/busybox sh\n# {self.directory}\necho {greeting} "$@"; exit 3\n'
        )
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
        done = run_text(*arguments, env=self.environment(env))
        assert done.returncode == 0 or not check, done.stderr
        assert left_behind(self) == []
        return done


def left_behind(home: Home) -> list[str]:
    """Name the files and processes of nixdock there, and those of the programs that it called.

    Podman has directories of its own there, and a monitor that ends a little after a container.
    """
    files = [file.name for file in home.scratch.iterdir() if file.name.startswith(_MADE_FOR_IMAGES)]
    with suppress(ToolError):
        wait_until(lambda: not _processes(home), what="the end of all processes")
    return files + _processes(home)


def _processes(home: Home) -> list[str]:
    """Return the command lines of the processes that were started with the home's environment."""
    variable = f"TMPDIR={home.scratch}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if variable in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@contextmanager
def started(home: Home, *arguments: object, env: Mapping[str, str]) -> Iterator[Popen[str]]:
    """Start nixdock as a terminal does: in a process group of its own, which gets its signals."""
    with subprocess.Popen(
        [sys.executable, "-m", "nixdock", *map(str, arguments)],
        env=home.environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


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
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    assert process.returncode == 0
    assert left_behind(home) == []
