"""The forks of this process that have not ended, or that nobody has waited for."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

__all__ = ["running_forks"]


def running_forks() -> list[int]:
    """Return the process IDs of the children, in their order, that run no other program."""
    own = Path("/proc/self/cmdline").read_bytes()
    children = [
        int(child)
        for thread in Path("/proc/self/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    found = []
    for child in sorted(children):
        with suppress(FileNotFoundError):
            # Of one that has ended, there is no command line any more.
            if Path(f"/proc/{child}/cmdline").read_bytes() in {own, b""}:
                found.append(child)
    return found
