"""Run a program with a directory as its `/`, in namespaces of its own.

This runs as a program under fakeroot, so that the process has but one thread. It becomes two: one
enters the namespaces and is the program in the end, the other stays outside and watches it.
What goes wrong before the program has started is written to the job's error file.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

from nixdock.rootfs.rootless.calls import listen
from nixdock.rootfs.rootless.watch import watch

__all__ = ["INSIDE", "main"]

INSIDE: Final = "/.nixdock"
"""Where the job's directory is seen in a root: a script may well empty /tmp."""

_PARENT_DEATH_SIGNAL: Final = 1
_NEW_USER: Final = 0x10000000
_NEW_PROCESSES: Final = 0x20000000
_NEW_MOUNTS: Final = 0x00020000
_BIND: Final = 0x1000
_RECURSIVE: Final = 0x4000
_PRIVATE: Final = 1 << 18
# Neither set-id programs, devices, nor programs at all.
_NOTHING_SPECIAL: Final = 2 | 4 | 8

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.mount.argtypes = (
    *(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p),
    *(ctypes.c_ulong, ctypes.c_char_p),
)


class _EnterError(Exception):
    """What could not be done, for people."""


def main(job_file: str) -> int:
    """Run the program of a job, which is a JSON file, and return its exit status."""
    # Whoever is interrupted ends, and with it all that it has started.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    job = json.loads(Path(job_file).read_bytes())
    library = _copied_library(Path(job_file).parent)
    error = os.open(job["error"], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        ours.close()
        try:
            _become_program(job, library, theirs)
        except _EnterError as failure:
            os.write(error, str(failure).encode())
        os._exit(125)
    theirs.close()
    descriptors = socket.recv_fds(ours, 1, 1)[1]
    if descriptors and library is not None:
        watch(descriptors[0], child, library)
    return _status(child)


def _status(child: int) -> int:
    """Wait for a process and return its exit status, as a shell does."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _become_program(job: dict[str, Any], library: str | None, watcher: socket.socket) -> NoReturn:
    owner = (job["uid"], job["gid"])
    if job["root"] is not None:
        _change_root(job, watcher)
    elif owner != (0, 0) and not _LIBC.unshare(_NEW_USER):
        # For programs that fakeroot does not reach; without it they see the builder's ids.
        _map_ids(*owner)
    _end_with_parent()
    for variable in ("LD_LIBRARY_PATH", "LD_PRELOAD"):
        os.environ.pop(variable, None)
    if library is not None:
        directory = os.path.dirname(job["error"]) if job["root"] is None else INSIDE  # noqa: PTH120
        # Each kind of C library takes what is its own; those that know no $LIB take nothing.
        os.environ["LD_PRELOAD"] = f"{directory}/$LIB/{library}"
        if (listener := listen()) is not None:
            socket.send_fds(watcher, [b"l"], [listener])
            os.close(listener)
    try:
        os.execv(job["program"][0], job["program"])
    except OSError as error:
        raise _EnterError(f"can't run {job['program'][0]}: {error.strerror}") from None


def _end_with_parent() -> None:
    """Be killed when the process that has started this one ends, from now on."""
    # The first process of a namespace is told of no other signal.
    _LIBC.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _copied_library(directory: Path) -> str | None:
    """Copy fakeroot's library to where it is found with another root as well; return its name."""
    name = os.environ.get("LD_PRELOAD", "").partition(":")[0]
    for place in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        library = Path(place, name)
        if name and library.is_file():
            copied = directory / "lib" / library.name
            copied.parent.mkdir()
            copied.write_bytes(library.read_bytes())
            # What $LIB is in Nix, Red Hat's and Debian's systems.
            (directory / "lib64").symlink_to("lib")
            (copied.parent / f"{os.uname().machine}-linux-gnu").symlink_to(".")
            return copied.name
    return None


def _change_root(job: dict[str, Any], watcher: socket.socket) -> None:
    root = job["root"]
    _enter_namespaces(job["uid"], job["gid"])
    _mount(root, root, recursive=True)
    for source, target, recursive in job["mounts"]:
        _mount(source, root + target, recursive=recursive)
    # With processes of its own, nothing that the program leaves behind goes on after its end.
    if not _LIBC.unshare(_NEW_PROCESSES):
        if child := os.fork():
            _end_with_parent()
            watcher.close()
            os._exit(_status(child))
        # Not allowed where parts of /proc are hidden; the one of outside is there already.
        _LIBC.mount(b"proc", os.fsencode(f"{root}/proc"), b"proc", _NOTHING_SPECIAL, None)
    try:
        os.chroot(root)
        os.chdir("/")
    except OSError as error:
        raise _EnterError(f"can't change the root to {root}: {error.strerror}") from None


def _enter_namespaces(uid: int, gid: int) -> None:
    if _LIBC.unshare(_NEW_USER | _NEW_MOUNTS):
        raise _EnterError(f"the system allows no user namespace: {_reason()}; {_settings()}")
    _map_ids(uid, gid)
    if _LIBC.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None):
        raise _EnterError(
            f"the system allows no mounts in a user namespace: {_reason()}; {_settings()}"
        )


def _map_ids(uid: int, gid: int) -> None:
    try:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
    except OSError as error:
        raise _EnterError(
            f"the system allows no user namespace: {error.filename}: {error.strerror};"
            f" {_settings()}"
        ) from None


def _mount(source: str, target: str, *, recursive: bool) -> None:
    flags = _BIND | (_RECURSIVE if recursive else 0)
    if _LIBC.mount(os.fsencode(source), os.fsencode(target), None, flags, None):
        raise _EnterError(f"can't mount {source} at {target}: {_reason()}")


def _reason() -> str:
    return os.strerror(ctypes.get_errno())


def _settings() -> str:
    """Name the settings of this machine that are in the way, or those that may be."""
    found = [
        f"{name} is {value}"
        for name, wrong in (
            ("kernel.unprivileged_userns_clone", "0"),
            ("user.max_user_namespaces", "0"),
            ("kernel.apparmor_restrict_unprivileged_userns", "1"),
        )
        if (value := _sysctl(name)) == wrong
    ]
    if found:
        return "set it otherwise with sysctl: " + ", ".join(found)
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
