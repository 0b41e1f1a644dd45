"""Run a command with a newer Docker or Podman than the machine's, of another suite of Debian.

    python -m tests.runtime.newer {docker|podman} SUITE COMMAND...

Docker's daemon keeps images in containerd, as new installations of it do. The packages of the suite
are unpacked into the tests' cache; nothing is installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..nix.suites import give_libraries, unpacked
from .engine import IN_CONTAINERD, PODMAN_HELPERS


@dataclass(frozen=True)
class Engine:
    """The packages of an engine, and those of their programs that are called by name."""

    packages: Sequence[str]
    programs: Sequence[str]

    def finish(self, directory: Path) -> None:
        """Let the programs run, and put them into a directory of their own."""
        (directory / "own").mkdir()
        for program in self.programs:
            give_libraries(directory, directory / program)
            (directory / "own" / Path(program).name).symlink_to(directory / program)


ENGINES = {
    "docker": Engine(
        ["docker.io", "docker-cli"],
        [
            "usr/bin/containerd",
            "usr/bin/containerd-shim-runc-v2",
            "usr/bin/docker",
            "usr/sbin/dockerd",
            "usr/sbin/runc",
        ],
    ),
    "podman": Engine(["podman"], ["usr/bin/podman"]),
}


def environment(name: str, suite: str) -> dict[str, str]:
    """Return an environment in which the suite's engine comes first."""
    engine = ENGINES[name]
    directory = unpacked(suite, name, engine.packages, engine.finish)
    own = (
        {IN_CONTAINERD: "1"}
        if name == "docker"
        else {PODMAN_HELPERS: str(directory / "usr/lib/podman")}
    )
    return {**os.environ, "PATH": f"{directory}/own:{os.environ['PATH']}", **own}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in place of this program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("suite", help="trixie, sid or another suite of Debian")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(argv)
    env = environment(options.engine, options.suite)
    sys.stdout.flush()
    os.execvpe(options.command[0], options.command, env)


if __name__ == "__main__":
    raise SystemExit(main())
