"""Run a job's program under a supervisor, with another directory as its `/` if the job says so.

`start` starts this module as a program of its own, often under fakeroot, because a process that
enters a user namespace must have a single thread. It forks: the child enters the namespaces and
becomes the job's program, and the parent stays outside and supervises its system calls (`watch`).

A confined job gets a root of its own, in which only what it needs is mounted. The old root is
unmounted then, so that not even a program with all rights in its user namespace could return to it.

If the program can't be started, the reason is written to the job's error file.
"""

from __future__ import annotations

import ctypes

# Not orjson: this module and its imports need only the standard library, so that it starts fast.
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from nixdock.rootfs.rootless.calls import install_filter
from nixdock.rootfs.rootless.failure import EnterError, report
from nixdock.rootfs.rootless.mounting import (
    bind,
    change_root,
    keep_mounts_private,
    make_read_only,
    mount_devices,
    mount_processes,
)
from nixdock.rootfs.rootless.namespaces import (
    NEW_MOUNTS,
    NEW_PIDS,
    ROOT_CAPABILITIES,
    enter_user_namespace,
    forbid_more_rights,
    leave_keyring,
    new_namespaces,
)
from nixdock.rootfs.rootless.watch import watch

__all__ = ["INSIDE", "main"]

INSIDE: Final = "/.nixdock"
"""The path of the job's directory in a root; not in /tmp, which a script may empty."""

# The environment variable that turns the emulation for static programs off if it is 0.
_SWITCH: Final = "NIXDOCK_STATIC_PROGRAMS"

# linux/prctl.h
_PARENT_DEATH_SIGNAL: Final = 1

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def main(job_file: str) -> int:
    """Run the program of the job in a JSON file and return its exit status.

    The program is killed if this process ends first.
    """
    # End at once on an interrupt, and so end the program as well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    job = json.loads(Path(job_file).read_bytes())
    library = _copy_library(Path(job_file).parent)
    # The child may no longer reach the file by its path when it fails.
    error = os.open(job["error"], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    parent_end, child_end = socket.socketpair()
    child = os.fork()
    if not child:
        parent_end.close()
        try:
            _become_program(job, library, child_end)
        except EnterError as failure:
            report(failure, error)
        os._exit(125)
    child_end.close()
    # The listener of the child's filter; none if there is no filter or the child has failed.
    descriptors = socket.recv_fds(parent_end, 1, 1)[1]
    if descriptors and library is not None:
        watch(descriptors[0], child, library)
    return _wait(child)


def _wait(child: int) -> int:
    """Wait for a process and return its exit status, 128 + N if signal N ended it."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _become_program(job: dict[str, Any], library: str | None, parent: socket.socket) -> NoReturn:
    """Replace this process by the job's program, and send the listener of its filter to `parent`.

    Raise EnterError if that is impossible.
    """
    owner = (job["uid"], job["gid"])
    if job["root"] is not None:
        _change_root(job, parent)
    elif owner != (0, 0):
        _become_root(job, owner)
    else:
        # Root may be allowed no mounts either, in a container.
        with suppress(EnterError, OSError):
            new_namespaces(NEW_MOUNTS)
            keep_mounts_private()
            _bind_all(job, "")
    _die_with_parent()
    environment = _environment(job["environment"])
    if library is not None:
        directory = os.path.dirname(job["error"]) if job["root"] is None else INSIDE  # noqa: PTH120
        # glibc's dynamic linker replaces $LIB by the name of its library directory. Others, such
        # as musl's, do not: they find no file, and so don't load a library that needs glibc.
        environment |= {k: v for k, v in os.environ.items() if k.startswith("FAKEROOT")}
        environment["LD_PRELOAD"] = f"{directory}/$LIB/{library}"
        is_wanted = os.environ.get(_SWITCH) != "0"
        if is_wanted and (listener := install_filter()) is not None:
            socket.send_fds(parent, [b"l"], [listener])
            os.close(listener)
    try:
        os.execve(job["program"][0], job["program"], environment)
    except OSError as error:
        raise EnterError(f"can't run {job['program'][0]}: {error.strerror}") from None


def _become_root(job: dict[str, Any], owner: tuple[int, int]) -> None:
    """Let the kernel call this process root, as statically linked programs ask it, if possible.

    That gives its programs the rights to write to all files of the user: mount those that they must
    not change, or where that is forbidden, give up these rights.
    """
    try:
        enter_user_namespace(NEW_MOUNTS, owner)
    except EnterError:
        with suppress(EnterError):
            enter_user_namespace(0, owner)
            forbid_more_rights(())
        return
    try:
        keep_mounts_private()
        _bind_all(job, "")
    except (EnterError, OSError):
        # AppArmor may forbid this as well, but then there are no rights in the namespace anyway.
        with suppress(EnterError):
            forbid_more_rights(())


def _bind_all(job: dict[str, Any], root: str) -> None:
    """Bind the job's mounts below `root`, and make read-only what the program must not change."""
    for source, target, recursive, _ in job["mounts"]:
        bind(source, root + target, recursive=recursive)
    make_read_only([root + target for _, target, _, read_only in job["mounts"] if read_only])


def _environment(given: dict[str, str] | None) -> dict[str, str]:
    """Return the program's environment: what is `given` or, by default, that of this process."""
    if given is None:
        left_out = {"LD_LIBRARY_PATH", "LD_PRELOAD"}
        return {name: value for name, value in os.environ.items() if name not in left_out}
    return dict(given)


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    # SIGKILL, because the first process of a PID namespace ignores other signals by default.
    _LIBC.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _copy_library(directory: Path) -> str | None:
    """Copy fakeroot's library to `directory`, which is in every root; return its file name.

    Return None if this process does not run under fakeroot.
    """
    name = os.environ.get("LD_PRELOAD", "").partition(":")[0]
    for place in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        library = Path(place, name)
        if name and library.is_file():
            copy = directory / "lib" / library.name
            copy.parent.mkdir()
            copy.write_bytes(library.read_bytes())
            # $LIB is lib in Nix, lib64 in Red Hat's systems and lib/MACHINE-linux-gnu in Debian's.
            (directory / "lib64").symlink_to("lib")
            (copy.parent / f"{os.uname().machine}-linux-gnu").symlink_to(".")
            return copy.name
    return None


def _change_root(job: dict[str, Any], parent: socket.socket) -> None:
    """Enter new namespaces and make the job's root, with its mounts, the root directory.

    If the job is confined, its program can neither reach nor change anything else.
    """
    root, confined = job["root"], job["confined"]
    enter_user_namespace(NEW_MOUNTS, (job["uid"], job["gid"]), tuple(job["user"]))
    try:
        keep_mounts_private()
        bind(root, root, recursive=True)
        _bind_all(job, root)
        _enter_processes(parent, confined=confined)
        mount_processes(f"{root}/proc", read_only=confined)
        if confined:
            _confine(job)
        else:
            os.chroot(root)
        os.chdir(job["directory"])
    except OSError as error:
        raise EnterError(
            f"can't change the root to {root}: {error.strerror}", refused=confined
        ) from None


def _confine(job: dict[str, Any]) -> None:
    """Leave nothing but the job's root to this process, and no rights to change its mounts."""
    root = job["root"]
    mount_devices(f"{root}/dev")
    if job["read_only_root"]:
        make_read_only([root], recursive=False)
    change_root(root)
    # A terminal that controls a program would let it type commands into it.
    os.setsid()
    leave_keyring()
    forbid_more_rights(ROOT_CAPABILITIES)


def _enter_processes(parent: socket.socket, *, confined: bool) -> None:
    """Go on as the first process of a PID namespace.

    The processes that a script leaves behind are killed when it ends.
    """
    try:
        new_namespaces(NEW_PIDS)
    except EnterError:
        if confined:
            raise
        return
    # Only the child enters the namespace; this process waits for it.
    if child := os.fork():
        _die_with_parent()
        parent.close()
        os._exit(_wait(child))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
