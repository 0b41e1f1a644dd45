"""Run a command whose temporary files are in memory, if there is enough of it.

    python in_memory.py COMMAND [ARGUMENT...]

The daemons of the tests unpack images again and again, and remove them in the end, which takes a
disk about twice as long. It needs root; without that, and without `mount`, the disk is used.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# Of memory, in bytes: what the files take at most, and what the programs need besides.
_FILES = 10 << 30
_PROGRAMS = 6 << 30


def main(command: Sequence[str]) -> int:
    """Return the exit status of the command."""
    # What ends this program must not leave the files in memory.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with _in_memory() as variables:
        return subprocess.run(command, env={**os.environ, **variables}, check=False).returncode


@contextmanager
def _in_memory() -> Iterator[dict[str, str]]:
    """Yield the variables of programs whose temporary files are in memory, while they are."""
    if "TMPDIR" in os.environ or _available() < _FILES + _PROGRAMS:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="tests-") as directory:
        mount = ["mount", "-t", "tmpfs", "-o", f"mode=1777,size={_FILES}", "tests", directory]
        if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
            yield {}
            return
        try:
            yield {"TMPDIR": directory}
        finally:
            subprocess.run(["umount", "--lazy", directory], check=False)


def _available() -> int:
    """Return how many bytes of memory programs could have, or 0 where that is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if "MemAvailable" in line), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
