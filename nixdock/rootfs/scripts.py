"""Running the extra_commands of a spec in a directory, as the calling user."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from nixdock.errors import ScriptError
from nixdock.system.commands import run_command
from nixdock.system.scratch import temporary_directory

__all__ = ["BUILDER_SETUP", "RUN_SCRIPT", "run_script"]

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


def run_script(script: str, directory: Path) -> None:
    """Run `script`, the spec's extra_commands, with bash or sh in `directory`.

    Raise ScriptError if the script fails, or if there is no shell.
    """
    shell = shutil.which("bash") or shutil.which("sh")
    if shell is None:
        raise ScriptError(
            "extra_commands needs a shell, but neither bash nor sh is in PATH; install one, or add"
            " it to PATH",
            key="extra_commands",
        )
    with temporary_directory() as temporary:
        file = temporary / "extra-commands"
        file.write_text(script, encoding="utf-8")
        prelude = BUILDER_SETUP + RUN_SCRIPT
        # nixdock may be writing the image to standard output: keep the script's output out of it.
        result = run_command(
            [shell, "-c", prelude, "extra_commands", str(file)],
            directory=directory,
            output_to_stderr=True,
            umask=0o022,
            supervised=True,
        )
    if result.status:
        raise ScriptError(
            f"extra_commands failed with exit status {result.status}", key="extra_commands"
        )
