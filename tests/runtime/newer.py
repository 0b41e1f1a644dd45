"""Run a command with a newer Docker than the machine's, which another suite of Debian has.

    python -m tests.runtime.newer SUITE COMMAND...

Its daemon keeps images in containerd, as new installations of Docker do. The packages of the suite
are unpacked into the tests' cache; nothing is installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..nix.suites import give_libraries, unpacked
from .engine import IN_CONTAINERD

PROGRAMS = (
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/docker",
    "usr/sbin/dockerd",
    "usr/sbin/runc",
)


def prepare(suite: str) -> Path:
    """Return the directory with the suite's Docker: `own` has the programs."""
    return unpacked(suite, "docker", ["docker.io", "docker-cli"], _finish)


def _finish(directory: Path) -> None:
    (directory / "own").mkdir()
    for program in PROGRAMS:
        give_libraries(directory, directory / program)
        (directory / "own" / Path(program).name).symlink_to(directory / program)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in place of this program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", help="trixie, sid or another suite of Debian")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(argv)
    path = f"{prepare(options.suite)}/own:{os.environ['PATH']}"
    sys.stdout.flush()
    os.execvpe(
        options.command[0], options.command, {**os.environ, "PATH": path, IN_CONTAINERD: "1"}
    )


if __name__ == "__main__":
    raise SystemExit(main())
