"""Run a program with a directory as its `/`, in namespaces of its own: `python enter.py JOB`.

JOB is a JSON file, whose directory is seen at its own place. This runs as a program, so that the
process has but one thread, and imports nothing of nixdock, so that it starts wherever Python does.
What goes wrong before the program has started is written to the job's error file.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]

_NEW_USER = 0x10000000
_NEW_MOUNTS = 0x00020000
_BIND = 0x1000
_RECURSIVE = 0x4000
_PRIVATE = 1 << 18

_NO_NEW_PRIVILEGES = 38
_SET_FILTER = 1
_NEW_LISTENER = 1 << 3
_ALLOW = 0x7FFF0000
_NOTIFY = 0x7FC00000
# AUDIT_ARCH, seccomp(2), and chown, fchown, lchown and fchownat, as far as there are such.
_CALLS = {
    "x86_64": (0xC000003E, 317, (92, 93, 94, 260)),
    "aarch64": (0xC00000B7, 277, (54, 55)),
}


class _Step(ctypes.Structure):
    """A step of a filter: struct sock_filter of linux/filter.h."""

    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    """A filter: struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mount.argtypes = (
    *(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p),
    *(ctypes.c_ulong, ctypes.c_char_p),
)


class _EnterError(Exception):
    """What could not be done, for people."""


def main(job_file: str) -> int:
    """Enter the namespaces and become the program."""
    job = json.loads(Path(job_file).read_bytes())
    preload = _fakeroot_library(Path(job_file).parent)
    try:
        if job["root"] is not None:
            _change_root(job)
        for variable in ("LD_LIBRARY_PATH", "LD_PRELOAD"):
            os.environ.pop(variable, None)
        if preload is not None:
            os.environ["LD_PRELOAD"] = preload
        _send_listener(job["listener"])
        try:
            os.execv(job["program"][0], job["program"])
        except OSError as error:
            raise _EnterError(f"can't run {job['program'][0]}: {error.strerror}") from None
    except _EnterError as failure:
        Path(job["error"]).write_text(str(failure), encoding="utf-8")
    return 125


def _fakeroot_library(directory: Path) -> str | None:
    """Copy fakeroot's library to where it can be found with another root as well."""
    name = os.environ.get("LD_PRELOAD", "").partition(":")[0]
    for place in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        library = Path(place, name)
        if name and library.is_file():
            copied = directory / library.name
            copied.write_bytes(library.read_bytes())
            return str(copied)
    return None


def _change_root(job: dict[str, Any]) -> None:
    root = job["root"]
    _enter_namespaces(job["uid"], job["gid"])
    _mount(root, root, recursive=True)
    for source, target, recursive in job["mounts"]:
        _mount(source, root + target, recursive=recursive)
    try:
        os.chroot(root)
        os.chdir("/")
    except OSError as error:
        raise _EnterError(f"can't change the root to {root}: {error.strerror}") from None


def _send_listener(connection: int) -> None:
    """Let the kernel tell of each call that gives a file another owner, if it can do that."""
    machine = os.uname().machine
    if machine not in _CALLS:
        return
    audit, seccomp, calls = _CALLS[machine]
    # A program of the machine's own kind makes the calls: look at the number, and allow the rest.
    code = [
        _Step(0x20, 0, 0, 4),
        _Step(0x15, 0, len(calls) + 1, audit),
        _Step(0x20, 0, 0, 0),
        *(_Step(0x15, len(calls) - i, 0, call) for i, call in enumerate(calls)),
        _Step(0x06, 0, 0, _ALLOW),
        _Step(0x06, 0, 0, _NOTIFY),
    ]
    steps = (_Step * len(code))(*code)
    program = _Program(len(code), ctypes.cast(steps, ctypes.c_void_p))
    # Without it, no filter may be set outside of a namespace of one's own.
    if _LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return
    listener = _LIBC.syscall(seccomp, _SET_FILTER, _NEW_LISTENER, ctypes.byref(program))
    if listener >= 0:
        with socket.socket(fileno=connection) as sender:
            socket.send_fds(sender, [b"l"], [listener])


def _enter_namespaces(uid: int, gid: int) -> None:
    if _LIBC.unshare(_NEW_USER | _NEW_MOUNTS):
        raise _EnterError(f"the system allows no user namespace: {_reason()}; {_settings()}")
    try:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
    except OSError as error:
        raise _EnterError(
            f"the system allows no user namespace: {error.filename}: {error.strerror};"
            f" {_settings()}"
        ) from None
    if _LIBC.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None):
        raise _EnterError(
            f"the system allows no mounts in a user namespace: {_reason()}; {_settings()}"
        )


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
