"""The program, also as `python -m nixdock`: until it is loaded, Ctrl-C ends it without a word."""

import gc
import signal
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Load the command line and run it.

    Python would show a traceback for a KeyboardInterrupt while modules are loaded; the signal's own
    action ends the process silently, and there is nothing to clean up yet.
    """
    # A signal that is ignored stays ignored, as with nohup.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # The process is short-lived, and reference counts free nearly all garbage. Collecting cycles
    # would visit every module, and every object of a large closure, again and again.
    gc.disable()
    from nixdock.cli import run  # noqa: PLC0415 (after the signal's action is set)

    run()


if __name__ == "__main__":
    main()
