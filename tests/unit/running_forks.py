"""The forks of this process that have not ended, or that nobody has waited for."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["running_forks"]


def running_forks() -> list[int]:
    """Return the process IDs of the children, in their order, that run no other program."""
    own = _command(Path("/proc/self"))
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # Other tests' processes end at any time: there is nothing to read then. The lists of
        # the threads' children would not do: a thread may end too, and leave its children to
        # one that was read before.
        with suppress(FileNotFoundError, ProcessLookupError):
            # The command line of one that has ended is empty.
            if _parent(process) == os.getpid() and _command(process) in {own, b""}:
                found.append(int(process.name))
    return sorted(found)


def _parent(process: Path) -> int:
    # The name of the program, in brackets, may have brackets and spaces.
    return int((process / "stat").read_text().rpartition(")")[2].split()[1])


def _command(process: Path) -> bytes:
    return (process / "cmdline").read_bytes()
