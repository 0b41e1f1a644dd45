"""Mounting the parts of a script's root directory, and leaving everything else behind."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from nixdock.rootfs.rootless.namespaces import advice, fail
from nixdock.system.mounts import mount_points

__all__ = [
    "bind",
    "change_root",
    "keep_mounts_private",
    "make_read_only",
    "mount_devices",
    "mount_processes",
]

# linux/mount.h
_READ_ONLY: Final = 1
_NOSUID: Final = 2
_NODEV: Final = 4
_NOEXEC: Final = 8
_REMOUNT: Final = 0x20
_BIND: Final = 0x1000
_RECURSIVE: Final = 0x4000
_PRIVATE: Final = 1 << 18
_DETACH: Final = 2

_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.mount.argtypes = (
    *(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p),
    *(ctypes.c_ulong, ctypes.c_char_p),
)


def keep_mounts_private() -> None:
    """Keep what is mounted from now on out of all other mount namespaces."""
    if _mount("none", "/", None, _RECURSIVE | _PRIVATE):
        what = "the system allows no mounts in a user namespace"
        fail(what, advice(), without_namespaces=True)


def bind(source: str, target: str, *, recursive: bool) -> None:
    """Mount the file or directory `source` at `target`, too."""
    if _mount(source, target, None, _BIND | (_RECURSIVE if recursive else 0)):
        fail(f"can't mount {source} at {target}")


def make_read_only(targets: Collection[str], *, recursive: bool = True) -> None:
    """Make the mounts at `targets` read-only; with `recursive`, also the mounts below them."""
    wanted = {os.fsencode(target) for target in targets}
    found = (
        {point for point in mount_points() if any(part in wanted for part in _and_parents(point))}
        if recursive
        else wanted
    )
    for point in sorted(found):
        # The kernel lets a user namespace add restrictions to mounts from outside, but remove none.
        kept = os.statvfs(point).f_flag & (_NOSUID | _NODEV | _NOEXEC)
        if _mount("none", point, None, _REMOUNT | _BIND | _READ_ONLY | kept):
            fail(f"can't make {os.fsdecode(point)} read-only")


def _and_parents(path: bytes) -> Iterator[bytes]:
    while path:
        yield path
        path = path.rpartition(b"/")[0]


def mount_devices(directory: str) -> None:
    """Mount a /dev with the devices that programs can't do without; `directory` is that in a root.

    They are this machine's, because a user namespace may not make devices: their owners and modes
    must not change. A program can write to a device whose mount is read-only.
    """
    if _mount("tmpfs", directory, "tmpfs", _NOSUID, "mode=755"):
        fail(f"can't mount a file system at {directory}")
    for name in _DEVICES:
        if Path("/dev", name).exists():
            Path(directory, name).touch()
            bind(f"/dev/{name}", f"{directory}/{name}", recursive=False)
            make_read_only([f"{directory}/{name}"], recursive=False)
    for name, target in _DEVICE_LINKS.items():
        Path(directory, name).symlink_to(target)
    for name, mode in (("shm", 0o1777), ("pts", 0o755)):
        Path(directory, name).mkdir()
        Path(directory, name).chmod(mode)
    # Few programs need terminals of their own, and some containers don't allow them.
    _mount("devpts", f"{directory}/pts", "devpts", _NOSUID | _NOEXEC, "newinstance,ptmxmode=0666")


def mount_processes(directory: str, *, read_only: bool) -> None:
    """Mount a /proc with the processes of this PID namespace; `directory` is that in a root.

    Where parts of /proc are hidden, as in containers, this is not allowed. Then /proc stays as it
    is outside or, if the mount must be `read_only`, it is mounted as such.
    """
    flags = _NOSUID | _NODEV | _NOEXEC
    if not read_only:
        _mount("proc", directory, "proc", flags)
    elif _mount("proc", directory, "proc", flags | _READ_ONLY):
        bind("/proc", directory, recursive=True)
        make_read_only([directory])


def change_root(root: str) -> None:
    """Make the mount at `root` the root of this mount namespace, and unmount all others.

    Nothing outside of `root` can be reached then, whatever rights a program has.
    """
    os.chdir(root)
    # The old root lies above the new one then: this needs no directory for it.
    if _LIBC.pivot_root(b".", b"."):
        fail(f"can't change the root to {root}")
    if _LIBC.umount2(b".", _DETACH):
        fail("can't unmount the old root")
    os.chdir("/")


def _mount(
    source: str, target: str | bytes, kind: str | None, flags: int, options: str | None = None
) -> int:
    result: int = _LIBC.mount(
        os.fsencode(source),
        os.fsencode(target),
        None if kind is None else kind.encode(),
        flags,
        None if options is None else options.encode(),
    )
    return result
