"""Run a command with a newer Nix than the machine's, which another suite of Debian has.

    python -m tests.nix.newer SUITE COMMAND...

The packages of the suite are unpacked into the tests' cache, and Nix's program gets their
libraries, so that it runs among the machine's own files. It has a store of its own, which is
mounted at /nix for the command alone; so this needs root.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .suites import give_libraries, unpacked


def prepare(suite: str) -> Path:
    """Return the directory of the suite's Nix: `usr/bin` has the programs, `nix` the store."""
    return unpacked(suite, "nix", ["nix-bin"], _finish)


def environment(directory: Path) -> dict[str, str]:
    """Return the variables with which commands use that Nix, and no configuration of the machine's.

    The machine's cache has paths of the machine's store.
    """
    return {
        "PATH": f"{directory}/usr/bin/nix-only:{os.environ['PATH']}",
        "NIX_CONF_DIR": str(directory / "conf"),
        "NIX_CACHE_HOME": str(directory / "cache"),
        "NIX_USER_CONF_FILES": "",
    }


def _finish(directory: Path) -> None:
    (directory / "nix").mkdir()
    (directory / "conf").mkdir()
    programs = directory / "usr/bin"
    give_libraries(directory, programs / "nix")
    # A directory without the shell and other programs of the suite, which lack their libraries.
    (programs / "nix-only").mkdir()
    for program in programs.glob("nix*"):
        if program.is_file():
            (programs / "nix-only" / program.name).symlink_to(programs / "nix")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in place of this program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", help="trixie, sid or another suite of Debian")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(argv)
    directory = prepare(options.suite)
    mount = 'mount --bind "$0" /nix && exec "$@"'
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount]
    command = [*unshare, str(directory / "nix"), *options.command]
    sys.stdout.flush()
    os.execvpe(command[0], command, {**os.environ, **environment(directory)})


if __name__ == "__main__":
    raise SystemExit(main())
