"""Entering Linux namespaces, and giving up capabilities in them."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Final, NoReturn

from nixdock.rootfs.rootless.failure import EnterError

__all__ = [
    "NEW_IPC",
    "NEW_MOUNTS",
    "NEW_NAMES",
    "NEW_NETWORK",
    "NEW_PIDS",
    "NEW_USER",
    "ROOT_CAPABILITIES",
    "advice",
    "enter_user_namespace",
    "fail",
    "forbid_more_rights",
    "leave_keyring",
    "new_namespaces",
    "start_loopback",
]

# linux/sched.h
NEW_MOUNTS: Final = 0x00020000
NEW_NAMES: Final = 0x04000000
NEW_IPC: Final = 0x08000000
NEW_USER: Final = 0x10000000
NEW_PIDS: Final = 0x20000000
NEW_NETWORK: Final = 0x40000000

# linux/prctl.h
_DROP_FROM_BOUNDING_SET: Final = 24
_NO_NEW_PRIVILEGES: Final = 38
# linux/keyctl.h, and the numbers of keyctl(2)
_JOIN_SESSION_KEYRING: Final = 1
_KEYCTL: Final = {"x86_64": 250, "aarch64": 219}
# linux/if.h and linux/sockios.h
_SET_INTERFACE_FLAGS: Final = 0x8914
_INTERFACE_IS_UP: Final = 1

ROOT_CAPABILITIES: Final = frozenset({0, 1, 3, 4, 5, 6, 7, 10, 31})
"""The numbers of the capabilities that a confined script has if it runs as root.

They are chown, dac_override, fowner, fsetid, kill, setgid, setuid, net_bind_service and setfcap.
With sys_chroot, sys_admin or mknod, for example, it could change its mounts.
"""
_MOST_CAPABILITIES: Final = 64

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def enter_user_namespace(
    flags: int, outside: tuple[int, int], inside: tuple[int, int] = (0, 0)
) -> None:
    """Enter a new user namespace and those of `flags`.

    In it, the user and group `outside` have the numbers `inside`, and all others have none. Raise
    EnterError if the system does not allow it.
    """
    if _unshare(NEW_USER | flags):
        fail("the system allows no user namespace", advice(), without_namespaces=True)
    try:
        # The kernel demands the first from processes without privileges outside.
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        for name, new, old in zip(("uid_map", "gid_map"), inside, outside, strict=True):
            Path("/proc/self", name).write_text(f"{new} {old} 1", encoding="ascii")
    except OSError as error:
        raise EnterError(
            f"the system allows no user namespace: {error.filename}: {error.strerror}; {advice()}",
            refused=True,
            without_namespaces=True,
        ) from None


def new_namespaces(flags: int) -> None:
    """Enter new namespaces, as a process with the rights for it; raise EnterError if refused."""
    if _unshare(flags):
        fail("the system allows no namespace for the processes of a script", advice())


def _unshare(flags: int) -> int:
    if not hasattr(_LIBC, "unshare"):
        message = "only Linux has the namespaces that confine a script"
        raise EnterError(message, refused=True, without_namespaces=True)
    # Python has os.unshare only since 3.12.
    result: int = _LIBC.unshare(flags)
    return result


def start_loopback() -> None:
    """Give this process's new network namespace an address of its own, 127.0.0.1."""
    request = struct.pack("16sh", b"lo", _INTERFACE_IS_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SET_INTERFACE_FLAGS, request.ljust(40, b"\0"))


def forbid_more_rights(kept: Collection[int]) -> None:
    """Leave the programs that this process executes only the capabilities `kept`.

    Set-id programs give them no more, either. Raise EnterError if the kernel refuses it.
    """
    for capability in sorted(set(range(_MOST_CAPABILITIES)) - set(kept)):
        if _LIBC.prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0):
            if ctypes.get_errno() == errno.EINVAL:
                # The kernel knows none from this number on.
                break
            fail("the system does not let a script give up its rights")
    if _LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        fail("the system does not let a script give up its rights")


def leave_keyring() -> None:
    """Leave the keys of the caller's session, such as those of Kerberos, for an empty keyring.

    They are inherited, and no namespace hides them. Kernels without keys refuse the call.
    """
    if number := _KEYCTL.get(os.uname().machine):
        _LIBC.syscall(number, _JOIN_SESSION_KEYRING, None)


def fail(what: str, remedy: str = "", *, without_namespaces: bool = False) -> NoReturn:
    """Raise EnterError for the error of the last system call."""
    message = f"{what}: {os.strerror(ctypes.get_errno())}" + (f"; {remedy}" if remedy else "")
    raise EnterError(message, refused=True, without_namespaces=without_namespaces)


def advice() -> str:
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
