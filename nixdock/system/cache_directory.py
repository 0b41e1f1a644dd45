"""Where the user's caches are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["cache_directory"]


def cache_directory(environment: Mapping[str, str]) -> Path | None:
    """Return nixdock's directory for caches (XDG Base Directory Specification), or None.

    There is none in a Nix build, whose results must not depend on it.
    """
    if "NIX_BUILD_TOP" in environment and "IN_NIX_SHELL" not in environment:
        return None
    base = environment.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # noqa: PTH117 (a relative one is to be ignored)
        return Path(base, "nixdock")
    home = environment.get("HOME", "")
    return Path(home, ".cache", "nixdock") if os.path.isabs(home) else None  # noqa: PTH117
