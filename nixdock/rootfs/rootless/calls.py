"""The kernel's notifications of system calls before it makes them: seccomp_unotify(2).

A process can install a seccomp filter, a small program that the kernel runs for each system call of
the process and its descendants. For calls that change owners, modes or names, the filter here
answers "notify": the kernel stops the calling thread and sends a notification to the process that
holds the filter's *listener* descriptor. That process, the supervisor, responds with a result for
the caller, or lets the kernel make the call after all.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from msgspec import Struct

__all__ = ["Notification", "install_filter", "is_waiting", "receive", "respond"]

# linux/prctl.h
_NO_NEW_PRIVILEGES: Final = 38

# linux/seccomp.h: seccomp(2)'s operation and flag, and a filter's return values.
_SET_FILTER: Final = 1
_NEW_LISTENER: Final = 1 << 3
_ALLOW: Final = 0x7FFF0000
_NOTIFY: Final = 0x7FC00000

# linux/seccomp.h: struct seccomp_notif and seccomp_notif_resp, and the ioctls that take them.
_NOTIFICATION: Final = struct.Struct("QIIiIQ6Q")
_RESPONSE: Final = struct.Struct("QqiI")
_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
# The number that all kernels know; since Linux 5.9, headers have another one.
_ID_VALID: Final = 0x80082102
_CONTINUE: Final = 1

# linux/bpf_common.h: load a word of struct seccomp_data, jump if it equals a value, return.
_LOAD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_RETURN: Final = 0x06
# linux/seccomp.h: the places of the call's number and of the architecture in struct seccomp_data.
_CALL_NUMBER: Final = 0
_ARCHITECTURE: Final = 4


class _Machine(Struct, frozen=True):
    """An architecture: its AUDIT_ARCH, its number of seccomp(2), and the calls to notify of."""

    audit: int
    seccomp: int
    calls: Mapping[int, str]


_MACHINES: Final = {
    "x86_64": _Machine(
        0xC000003E,
        317,
        {
            82: "rename",
            84: "rmdir",
            87: "unlink",
            90: "chmod",
            91: "fchmod",
            92: "chown",
            93: "fchown",
            94: "lchown",
            133: "mknod",
            259: "mknodat",
            260: "fchownat",
            263: "unlinkat",
            264: "renameat",
            268: "fchmodat",
            316: "renameat2",
            452: "fchmodat2",
        },
    ),
    "aarch64": _Machine(
        0xC00000B7,
        277,
        {
            33: "mknodat",
            35: "unlinkat",
            38: "renameat",
            52: "fchmod",
            53: "fchmodat",
            54: "fchownat",
            55: "fchown",
            276: "renameat2",
            452: "fchmodat2",
        },
    ),
}


class _Instruction(ctypes.Structure):
    """struct sock_filter of linux/filter.h."""

    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class Notification(NamedTuple):
    """A system call that a thread waits in.

    `number` identifies the notification, `pid` the thread, and `instruction` is the address of the
    system call in the caller's code.
    """

    number: int
    pid: int
    call: str
    instruction: int
    arguments: tuple[int, ...]


def install_filter() -> int | None:
    """Have the kernel notify of system calls of this process and its descendants from now on.

    Return the listener, or None where the kernel or the architecture does not support it.
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is None or not _supports_continue(os.uname().release):
        return None
    count = len(machine.calls)
    # Jumps skip instructions. The last two are the results: from call i, _NOTIFY is count - i
    # instructions further. Calls of another architecture have other numbers and are allowed.
    instructions = [
        _Instruction(_LOAD, 0, 0, _ARCHITECTURE),
        _Instruction(_JUMP_IF_EQUAL, 0, count + 1, machine.audit),
        _Instruction(_LOAD, 0, 0, _CALL_NUMBER),
        *(
            _Instruction(_JUMP_IF_EQUAL, count - i, 0, number)
            for i, number in enumerate(machine.calls)
        ),
        _Instruction(_RETURN, 0, 0, _ALLOW),
        _Instruction(_RETURN, 0, 0, _NOTIFY),
    ]
    array = (_Instruction * len(instructions))(*instructions)
    program = _Program(len(instructions), ctypes.cast(array, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    # The kernel demands it from processes without CAP_SYS_ADMIN in their user namespace.
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return None
    listener: int = libc.syscall(machine.seccomp, _SET_FILTER, _NEW_LISTENER, ctypes.byref(program))
    return None if listener < 0 else listener


def _supports_continue(release: str) -> bool:
    """Tell whether a kernel supports _CONTINUE, as it does from 5.5 on."""
    return tuple(map(int, re.findall(r"\d+", release)[:2])) >= (5, 5)


def receive(listener: int) -> Notification | None:
    """Return the next notification, or None if its caller has been killed meanwhile."""
    data = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, data)
    except OSError:
        return None
    number, pid, _, call, _, instruction, *arguments = _NOTIFICATION.unpack(data)
    name = _MACHINES[os.uname().machine].calls[call]
    return Notification(number, pid, name, instruction, tuple(arguments))


def is_waiting(listener: int, notification: Notification) -> bool:
    """Tell whether the caller still waits in its call.

    If so, all that was read from /proc/PID and the process's memory before was the caller's: its
    process ID can't have been given to another process meanwhile.
    """
    try:
        fcntl.ioctl(listener, _ID_VALID, notification.number.to_bytes(8, sys.byteorder))
    except OSError:
        return False
    return True


def respond(listener: int, notification: Notification, error: int | None) -> None:
    """Let a call end with the errno `error`, or with success if that is 0.

    If `error` is None, the kernel makes the call.
    """
    if error is None:
        data = _RESPONSE.pack(notification.number, 0, 0, _CONTINUE)
    else:
        data = _RESPONSE.pack(notification.number, 0, -error, 0)
    # This fails if the caller has been killed: then nobody waits for the response.
    with suppress(OSError):
        fcntl.ioctl(listener, _SEND, data)
