"""Run a job's program under a supervisor, with another directory as its `/` if the job says so.

`run` starts this module as a program of its own, under fakeroot, because a process that enters a
user namespace must have a single thread. It forks: the child enters the namespaces and becomes the
job's program, and the parent stays outside and supervises its system calls (see `watch`).

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
from pathlib import Path
from typing import Any, Final, NoReturn

from nixdock.rootfs.rootless.calls import install_filter
from nixdock.rootfs.rootless.watch import watch

__all__ = ["INSIDE", "main"]

INSIDE: Final = "/.nixdock"
"""The path of the job's directory in a root; not in /tmp, which a script may empty."""

# The environment variable that turns the emulation for static programs off if it is 0.
_SWITCH: Final = "NIXDOCK_STATIC_PROGRAMS"

# linux/prctl.h, linux/sched.h and linux/mount.h
_PARENT_DEATH_SIGNAL: Final = 1
_NEW_USER: Final = 0x10000000
_NEW_PIDS: Final = 0x20000000
_NEW_MOUNTS: Final = 0x00020000
_BIND: Final = 0x1000
_RECURSIVE: Final = 0x4000
_PRIVATE: Final = 1 << 18
_NOSUID_NODEV_NOEXEC: Final = 2 | 4 | 8

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.mount.argtypes = (
    *(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p),
    *(ctypes.c_ulong, ctypes.c_char_p),
)


class _EnterError(Exception):
    """The program can't be started; the message goes to the job's error file."""


def main(job_file: str) -> int:
    """Run the program of the job in a JSON file and return its exit status.

    The program is killed if this process ends first.
    """
    # End at once on an interrupt, and so end the program as well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    job = json.loads(Path(job_file).read_bytes())
    library = _copy_library(Path(job_file).parent)
    error = os.open(job["error"], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    parent_end, child_end = socket.socketpair()
    child = os.fork()
    if not child:
        parent_end.close()
        try:
            _become_program(job, library, child_end)
        except _EnterError as failure:
            os.write(error, str(failure).encode())
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

    Raise _EnterError if that is impossible.
    """
    owner = (job["uid"], job["gid"])
    if job["root"] is not None:
        _change_root(job, parent)
    elif owner != (0, 0) and not _LIBC.unshare(_NEW_USER):
        # Statically linked programs ask the kernel for their user: let it be root, if possible.
        _map_ids(*owner)
    _die_with_parent()
    for variable in ("LD_LIBRARY_PATH", "LD_PRELOAD"):
        os.environ.pop(variable, None)
    if library is not None:
        directory = os.path.dirname(job["error"]) if job["root"] is None else INSIDE  # noqa: PTH120
        # glibc's dynamic linker replaces $LIB by the name of its library directory. Others, such
        # as musl's, do not: they find no file, and so don't load a library that needs glibc.
        os.environ["LD_PRELOAD"] = f"{directory}/$LIB/{library}"
        is_wanted = os.environ.get(_SWITCH) != "0"
        if is_wanted and (listener := install_filter()) is not None:
            socket.send_fds(parent, [b"l"], [listener])
            os.close(listener)
    try:
        os.execv(job["program"][0], job["program"])
    except OSError as error:
        raise _EnterError(f"can't run {job['program'][0]}: {error.strerror}") from None


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
    """Enter new namespaces and make the job's root, with its mounts, the root directory."""
    root = job["root"]
    _enter_namespaces(job["uid"], job["gid"])
    _mount(root, root, recursive=True)
    for source, target, recursive in job["mounts"]:
        _mount(source, root + target, recursive=recursive)
    # In a PID namespace, the processes that a script leaves behind are killed when it ends. Only
    # the child enters the namespace; this process waits for it.
    if not _LIBC.unshare(_NEW_PIDS):
        if child := os.fork():
            _die_with_parent()
            parent.close()
            os._exit(_wait(child))
        # Where parts of /proc are hidden, as in containers, this is not allowed. Then the /proc
        # that is mounted already has to do.
        _LIBC.mount(b"proc", os.fsencode(f"{root}/proc"), b"proc", _NOSUID_NODEV_NOEXEC, None)
    try:
        os.chroot(root)
        os.chdir("/")
    except OSError as error:
        raise _EnterError(f"can't change the root to {root}: {error.strerror}") from None


def _enter_namespaces(uid: int, gid: int) -> None:
    if _LIBC.unshare(_NEW_USER | _NEW_MOUNTS):
        raise _EnterError(f"the system allows no user namespace: {_reason()}; {_advice()}")
    _map_ids(uid, gid)
    if _LIBC.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None):
        raise _EnterError(
            f"the system allows no mounts in a user namespace: {_reason()}; {_advice()}"
        )


def _map_ids(uid: int, gid: int) -> None:
    """Make the user and group outside root in this process's user namespace."""
    try:
        # The kernel demands the first from processes without privileges outside.
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
    except OSError as error:
        raise _EnterError(
            f"the system allows no user namespace: {error.filename}: {error.strerror}; {_advice()}"
        ) from None


def _mount(source: str, target: str, *, recursive: bool) -> None:
    flags = _BIND | (_RECURSIVE if recursive else 0)
    if _LIBC.mount(os.fsencode(source), os.fsencode(target), None, flags, None):
        raise _EnterError(f"can't mount {source} at {target}: {_reason()}")


def _reason() -> str:
    return os.strerror(ctypes.get_errno())


def _advice() -> str:
    """Name the sysctl settings that forbid user namespaces, or all that may do so."""
    culprits = [
        f"{name} is {value}"
        for name, forbidding in (
            ("kernel.unprivileged_userns_clone", "0"),
            ("user.max_user_namespaces", "0"),
            ("kernel.apparmor_restrict_unprivileged_userns", "1"),
        )
        if (value := _sysctl(name)) == forbidding
    ]
    if culprits:
        return "change it with sysctl: " + ", ".join(culprits)
    return (
        "look at sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and"
        " kernel.apparmor_restrict_unprivileged_userns and, in a container, at its seccomp profile"
    )


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").strip()
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
