"""The kernel's notices of system calls before they are made: seccomp_unotify(2)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["Notice", "answer", "listen", "receive"]

_NO_NEW_PRIVILEGES: Final = 38
_SET_FILTER: Final = 1
_NEW_LISTENER: Final = 1 << 3
_ALLOW: Final = 0x7FFF0000
_NOTIFY: Final = 0x7FC00000

# linux/seccomp.h: struct seccomp_notif and seccomp_notif_resp, and what fills and takes these.
_NOTICE: Final = struct.Struct("QIIiIQ6Q")
_ANSWER: Final = struct.Struct("QqiI")
_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
_CONTINUE: Final = 1


@dataclass(frozen=True, slots=True)
class _Machine:
    """A kind of machine: its AUDIT_ARCH, and the numbers of seccomp(2) and of calls."""

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


class Notice(NamedTuple):
    """A call that a process is about to make; `instruction` is where in it."""

    number: int
    pid: int
    call: str
    instruction: int
    arguments: tuple[int, ...]


def listen() -> int | None:
    """Have the kernel tell of this process's calls from now on, and of all that it starts.

    Return the descriptor to receive them by, or None where the system has no such thing.
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is None or not _can_continue(os.uname().release):
        return None
    count = len(machine.calls)
    # A program of the machine's own kind makes the calls: look at the number, and allow the rest.
    code = [
        _Step(0x20, 0, 0, 4),
        _Step(0x15, 0, count + 1, machine.audit),
        _Step(0x20, 0, 0, 0),
        *(_Step(0x15, count - i, 0, call) for i, call in enumerate(machine.calls)),
        _Step(0x06, 0, 0, _ALLOW),
        _Step(0x06, 0, 0, _NOTIFY),
    ]
    steps = (_Step * len(code))(*code)
    program = _Program(len(code), ctypes.cast(steps, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    # Without it, no filter may be set outside of a namespace of one's own.
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return None
    listener: int = libc.syscall(machine.seccomp, _SET_FILTER, _NEW_LISTENER, ctypes.byref(program))
    return None if listener < 0 else listener


def _can_continue(release: str) -> bool:
    """Tell whether a kernel can make a call after all, as it can from 5.5 on."""
    return tuple(map(int, re.findall(r"\d+", release)[:2])) >= (5, 5)


def receive(listener: int) -> Notice | None:
    """Return the next call, or None if whoever was about to make it is gone."""
    notice = bytearray(_NOTICE.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, notice)
    except OSError:
        return None
    number, pid, _, call, _, instruction, *arguments = _NOTICE.unpack(notice)
    name = _MACHINES[os.uname().machine].calls[call]
    return Notice(number, pid, name, instruction, tuple(arguments))


def answer(listener: int, notice: Notice, error: int | None) -> None:
    """Let a call end with `error`, 0 being success, or let the kernel make it if that is None."""
    if error is None:
        data = _ANSWER.pack(notice.number, 0, 0, _CONTINUE)
    else:
        data = _ANSWER.pack(notice.number, 0, -error, 0)
    try:
        fcntl.ioctl(listener, _SEND, data)
    except OSError:
        return
