"""A program that runs another one and leaves none of its processes behind.

`run_command` starts this file as a program: PARENT PROGRAM [ARGUMENT...]. PARENT is the process ID
of the starter. Whatever PROGRAM has started ends with it, even daemons, and all of them end if the
starter does, however it is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any, Final

__all__ = ["main"]

# linux/prctl.h
_PARENT_DEATH_SIGNAL: Final = 1
_CHILD_SUBREAPER: Final = 36

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# The time in seconds that processes have to end by themselves: fakeroot's daemon saves its state.
_GRACE: Final = 2.0


class _StopError(Exception):
    """A signal asked the supervisor to end."""


def main(parent: int, argv: list[str]) -> int:
    """Run a program and return its exit status, 128 + N if signal N ended it."""
    for number in _SIGNALS:
        signal.signal(number, _stop)
    child = 0
    try:
        if sys.platform == "linux":
            libc = ctypes.CDLL(None)
            # Orphans become children of this process, which can find them then.
            libc.prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)
            libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:
                return 128 + signal.SIGTERM
        try:
            child = os.posix_spawnp(
                argv[0], argv, os.environ, setsigdef=(*_SIGNALS, signal.SIGPIPE, signal.SIGXFSZ)
            )
        except OSError as error:
            sys.stderr.write(f"can't run {argv[0]}: {error.strerror}\n")
            return 127
        # Orphans must be waited for, too: others may wait until they are gone, as fakeroot does.
        while (ended := os.waitpid(-1, 0))[0] != child:
            pass
        code = os.waitstatus_to_exitcode(ended[1])
        return code if code >= 0 else 128 - code
    except _StopError:
        return 128 + signal.SIGTERM
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        _end_all(child)


def _stop(*_: Any) -> None:
    raise _StopError


def _end_all(child: int) -> None:
    """End all children, first politely, and wait for them; orphans become children meanwhile."""
    deadline = time.monotonic() + _GRACE
    asked: set[int] = set()
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        late = time.monotonic() > deadline
        processes = _children() or {child}
        # Set-id programs may be those of another user, who alone can end them.
        foreign = set()
        for process in processes:
            if late or process not in asked:
                asked.add(process)
                try:
                    os.kill(process, signal.SIGKILL if late else signal.SIGTERM)
                except ProcessLookupError:
                    return
                except PermissionError:
                    foreign.add(process)
        if late and foreign == processes:
            return
        time.sleep(0.01)


def _children() -> set[int]:
    found = set()
    own = os.getpid()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():  # noqa: PTH112
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 (starts fast)
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == own:
                found.add(int(name))
    return found


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
