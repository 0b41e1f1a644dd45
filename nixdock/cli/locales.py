"""File names in UTF-8, whatever the encoding of the locale."""

from __future__ import annotations

import os
import sys
from typing import Final

__all__ = ["use_utf_8"]

_UTF_8: Final = "PYTHONUTF8"
_STREAMS: Final = "PYTHONIOENCODING"
# Says that the streams' encoding was not set by the user.
_ADDED: Final = "NIXDOCK_IO_ENCODING"


def use_utf_8() -> None:
    """Start again in Python's UTF-8 mode if the locale has another encoding for file names.

    Those in specs are in UTF-8 whatever the locale, as Nix writes them, and an older encoding has
    no bytes for many of them. From Python 3.15 on, this mode is the default. The standard streams
    keep the encoding of the locale, which is that of the terminal. This must come before anything
    else is done with the process. Raise ToolError if Python can't be started.
    """
    if os.environ.pop(_ADDED, ""):
        # It is for this process, and not for the programs that it starts.
        os.environ.pop(_STREAMS, None)
    is_utf_8 = sys.getfilesystemencoding() == "utf-8"
    # If the variable has no effect, as with `python -E`, the locale has to do.
    if is_utf_8 or os.environ.get(_UTF_8) == "1" or not sys.executable:
        return
    stream = sys.stdout or sys.stderr
    if _STREAMS not in os.environ and stream is not None:
        os.environ |= {_STREAMS: f"{stream.encoding}:{stream.errors}", _ADDED: "1"}
    os.environ[_UTF_8] = "1"
    from nixdock.system.commands import become_command

    become_command([sys.executable, *sys.orig_argv[1:]])
