"""The number of CPU cores to use."""

from __future__ import annotations

import os

__all__ = ["available_cores"]


def available_cores() -> int:
    """Return NIX_BUILD_CORES or, by default, the number of CPUs this process may run on."""
    cores = os.environ.get("NIX_BUILD_CORES", "")
    if cores.isascii() and cores.isdigit() and int(cores) > 0:
        return int(cores)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
