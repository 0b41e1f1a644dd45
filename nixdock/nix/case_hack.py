"""Names in the stores of systems where names that differ in case alone are the same.

There, Nix appends a suffix to all such names in a directory but the first one, and leaves it out
when it writes a NAR (Nix manual, `use-case-hack`, which is the default on macOS).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

__all__ = ["name_in_nar", "target_in_nar"]

# The native packer knows it, too.
_SUFFIX: Final = "~nix~case~hack~"
_is_used = sys.platform == "darwin"


def name_in_nar() -> Callable[[str], str] | None:
    """Return what gives a file's name in a NAR by that in the store; None if they are the same."""
    return _without_suffix if _is_used else None


def target_in_nar(target: bytes) -> bytes:
    """Return the path to which a symlink leads, with the names that its parts have in NARs."""
    return b"/".join(part.partition(_SUFFIX.encode())[0] for part in target.split(b"/"))


def _without_suffix(name: str) -> str:
    return name.partition(_SUFFIX)[0]
