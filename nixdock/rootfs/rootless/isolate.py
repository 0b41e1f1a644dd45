"""Run a program without a network, and without the shared memory and queues of other programs.

This is the first step of confining a script. It includes the fakeroot that the script runs under,
which talks to the script through such a queue; the mounts of the script come later (see `enter`).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NoReturn

from nixdock.rootfs.rootless.failure import EnterError, report
from nixdock.rootfs.rootless.namespaces import (
    NEW_IPC,
    NEW_NAMES,
    NEW_NETWORK,
    advice,
    enter_user_namespace,
    start_loopback,
)

__all__ = ["main"]


def main(error: str, argv: list[str]) -> NoReturn:
    """Become the program of `argv`; write to the file `error` if the system does not allow it."""
    # The user keeps its number: the next namespace makes it root, or whom the job says.
    user = (os.getuid(), os.getgid())
    try:
        enter_user_namespace(NEW_IPC | NEW_NAMES | NEW_NETWORK, user, user)
        try:
            start_loopback()
            # As in Nix's sandbox, so that no result depends on it.
            socket.sethostname("localhost")
        except OSError as failure:
            # AppArmor lets anyone enter a user namespace, but with no rights in it.
            message = f"the system allows no network namespace: {failure.strerror}; {advice()}"
            raise EnterError(message, refused=True) from None
    except EnterError as failure:
        report(failure, Path(error))
        os._exit(125)
    os.execv(argv[0], argv)
