"""Running nixdock as a program, in an environment that does not influence it."""

from __future__ import annotations

import os
import sys

PROGRAM = [sys.executable, "-m", "nixdock"]


def environment(**changes: str) -> dict[str, str]:
    """Return the environment without the variables that influence nixdock, and with `changes`."""
    prefixes = ("NIX_", "NIXDOCK_", "LC_", "LANG", "PYTHON")
    names = {"SOURCE_DATE_EPOCH", "TZ", "stdenv", "IN_NIX_SHELL"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in names and not name.startswith(prefixes)
    }
    return kept | changes
