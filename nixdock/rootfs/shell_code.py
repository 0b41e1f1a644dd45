"""What shells run for a script before the script itself."""

from __future__ import annotations

from typing import Final

__all__ = ["BUILDER_SETUP", "RUN_SCRIPT", "as_a_child"]

BUILDER_SETUP: Final = """
if [ -e "${NIX_ATTRS_SH_FILE:-}" ]; then . "$NIX_ATTRS_SH_FILE"; fi
if [ -e "${stdenv:-}/setup" ]; then . "$stdenv/setup"; fi
"""
"""Shell code that gives a script in a Nix build the functions and variables of the stdenv.

Scripts of dockerTools have these, too.
"""

RUN_SCRIPT: Final = """
set -e
. "$1"
"""
"""Shell code that runs the script in the file `$1` and stops at the first error."""


def as_a_child(shell: str, name: str, file: str) -> list[str]:
    """Return the command line of a shell that runs the script in `file` in another shell.

    `name` is what messages call the script. The first process of a PID namespace is not ended by
    signals from within, so the script should be the second.
    """
    return [shell, "-c", '"$@"; exit "$?"', name, shell, "-c", RUN_SCRIPT, name, file]
