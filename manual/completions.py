"""Scripts that let shells complete the command line, as click writes them."""

from __future__ import annotations

from typing import Final

from click.shell_completion import ShellComplete, get_completion_class

from manual.commands import PROGRAM
from nixdock.cli import main

__all__ = ["COMPLETION_FILES", "completion_script"]

COMPLETION_FILES: Final = {
    "bash": f"bash-completion/completions/{PROGRAM}",
    "zsh": f"zsh/site-functions/_{PROGRAM}",
    "fish": f"fish/vendor_completions.d/{PROGRAM}.fish",
}
"""Where each shell looks for the script, below `share`."""


def completion_script(shell: str) -> str:
    """Return the script for `bash`, `zsh` or `fish`."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    completer = kind(main, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE")
    # Not the subclass's method, which starts bash to ask for its version.
    return ShellComplete.source(completer)
