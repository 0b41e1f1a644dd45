"""Calls of programs that fakeroot's library does not reach, as they are linked statically.

Whoever watches runs under fakeroot, and makes the calls in their stead: so fakeroot remembers what
they do as it does for all other programs, which see it from then on, in the order of the calls.
A static program itself sees files as the disk has them.
"""

from __future__ import annotations

import errno
import os
import re
import select
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from nixdock.rootfs.rootless.caller import AT_CWD, AT_SYMLINK_NOFOLLOW, Caller
from nixdock.rootfs.rootless.calls import Notice, answer, receive

__all__ = ["watch"]

_REMOVE_DIRECTORY: Final = 0x200
_UNSIGNED: Final = 0xFFFFFFFF
_DEVICES: Final = (stat.S_IFCHR, stat.S_IFBLK)
_MOUNT: Final = re.compile(rb"^mnt_id:\s*(\d+)$", re.MULTILINE)
_MOST_KNOWN: Final = 10_000


def watch(listener: int, child: int, library: str) -> None:
    """Answer the calls that the kernel tells of until the process `child` has ended.

    Programs that have loaded `library`, which is a part of its name, look after themselves.
    """
    known: dict[tuple[int, int], bool] = {}
    # What is made here is as the one that calls wants it.
    os.umask(0)
    end = os.pidfd_open(child)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(end, select.POLLIN)
    try:
        while end not in (ready := dict(poll.poll())):
            if ready.get(listener, 0) & ~select.POLLIN:
                poll.unregister(listener)
                continue
            notice = receive(listener)
            if notice is not None:
                answer(listener, notice, _handle(notice, library, known))
    finally:
        os.close(end)


def _handle(notice: Notice, library: str, known: dict[tuple[int, int], bool]) -> int | None:
    """Make a call; return its error, 0 for success, or None if the kernel is to make it."""
    caller = Caller(notice.pid)
    # Reading what is mapped takes longer than all else. A program calls from few places, and
    # another one in the same process from other ones.
    place = notice.pid, notice.instruction
    if place not in known:
        if len(known) == _MOST_KNOWN:
            known.clear()
        try:
            known[place] = caller.has_mapped(library)
        except OSError:
            return None
    if known[place]:
        return None
    try:
        return _CALLS[notice.call](caller, *notice.arguments)
    except OSError as error:
        return error.errno or errno.EIO


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _id(value: int) -> int:
    """Return a user or group id, -1 being the one that a file has."""
    return -1 if value & _UNSIGNED == _UNSIGNED else value & _UNSIGNED


def _fchown(caller: Caller, file: int, uid: int, gid: int, *_: int) -> int:
    with caller.descriptor(file) as found:
        os.chown(_path(found), _id(uid), _id(gid))
    return 0


def _fchownat(
    caller: Caller, start: int, name: int, uid: int, gid: int, flags: int, *_: int
) -> int:
    with caller.file(start, name, flags) as found:
        os.chown(_path(found), _id(uid), _id(gid))
    return 0


def _chown(caller: Caller, name: int, uid: int, gid: int, *_: int) -> int:
    return _fchownat(caller, AT_CWD, name, uid, gid, 0)


def _lchown(caller: Caller, name: int, uid: int, gid: int, *_: int) -> int:
    return _fchownat(caller, AT_CWD, name, uid, gid, AT_SYMLINK_NOFOLLOW)


def _fchmod(caller: Caller, file: int, mode: int, *_: int) -> int:
    with caller.descriptor(file) as found:
        os.chmod(_path(found), mode & 0o7777)
    return 0


def _fchmodat2(caller: Caller, start: int, name: int, mode: int, flags: int, *_: int) -> int:
    with caller.file(start, name, flags) as found:
        if stat.S_ISLNK(os.fstat(found).st_mode):
            return errno.EOPNOTSUPP
        os.chmod(_path(found), mode & 0o7777)
    return 0


def _fchmodat(caller: Caller, start: int, name: int, mode: int, *_: int) -> int:
    return _fchmodat2(caller, start, name, mode, 0)


def _chmod(caller: Caller, name: int, mode: int, *_: int) -> int:
    return _fchmodat2(caller, AT_CWD, name, mode, 0)


def _mknodat(caller: Caller, start: int, name: int, mode: int, device: int, *_: int) -> int | None:
    if stat.S_IFMT(mode & _UNSIGNED) not in _DEVICES:
        return None
    with caller.place(start, name) as (directory, last):
        # fakeroot would make a device of what is there.
        with suppress(FileNotFoundError):
            os.stat(last, dir_fd=directory, follow_symlinks=False)
            return errno.EEXIST
        number = device & _UNSIGNED
        # The kernel's 12 bits of the major number lie within those of the minor one.
        major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
        masked = mode & _UNSIGNED & ~caller.umask()
        os.mknod(last, masked, os.makedev(major, minor), dir_fd=directory)
    return 0


def _mknod(caller: Caller, name: int, mode: int, device: int, *_: int) -> int | None:
    return _mknodat(caller, AT_CWD, name, mode, device)


def _unlinkat(caller: Caller, start: int, name: int, flags: int, *_: int) -> int | None:
    with caller.place(start, name) as (directory, last):
        if _is_mount_point(directory, last):
            return None
        remove = os.rmdir if flags & _REMOVE_DIRECTORY else os.unlink
        return _unless_forbidden(lambda: remove(last, dir_fd=directory))


def _unlink(caller: Caller, name: int, *_: int) -> int | None:
    return _unlinkat(caller, AT_CWD, name, 0)


def _rmdir(caller: Caller, name: int, *_: int) -> int | None:
    return _unlinkat(caller, AT_CWD, name, _REMOVE_DIRECTORY)


def _renameat2(
    caller: Caller, start: int, name: int, end: int, new_name: int, flags: int, *_: int
) -> int | None:
    if flags & _UNSIGNED:
        return None
    with caller.place(start, name) as old, caller.place(end, new_name) as new:
        # What is replaced is gone; for all else the inodes stay what they are.
        if not _exists(*new) or _is_mount_point(*old) or _is_mount_point(*new):
            return None
        return _unless_forbidden(
            lambda: os.rename(old[1], new[1], src_dir_fd=old[0], dst_dir_fd=new[0])
        )


def _renameat(
    caller: Caller, start: int, name: int, end: int, new_name: int, *_: int
) -> int | None:
    return _renameat2(caller, start, name, end, new_name, 0)


def _rename(caller: Caller, name: int, new_name: int, *_: int) -> int | None:
    return _renameat2(caller, AT_CWD, name, AT_CWD, new_name, 0)


def _exists(directory: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unless_forbidden(change: Callable[[], None]) -> int | None:
    """Make a change, unless it needs rights that only the namespace's root has."""
    try:
        change()
    except PermissionError:
        return None
    return 0


def _is_mount_point(directory: int, name: bytes) -> bool:
    """Tell whether something is mounted there, which only those in that namespace are told."""
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        return _mount(found) != _mount(directory)
    finally:
        os.close(found)


def _mount(descriptor: int) -> bytes | None:
    info = os.open(f"/proc/self/fdinfo/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = _MOUNT.search(os.read(info, 4096))
    finally:
        os.close(info)
    return None if found is None else found[1]


_CALLS: Final[Mapping[str, Callable[..., int | None]]] = {
    "chmod": _chmod,
    "chown": _chown,
    "fchmod": _fchmod,
    "fchmodat": _fchmodat,
    "fchmodat2": _fchmodat2,
    "fchown": _fchown,
    "fchownat": _fchownat,
    "lchown": _lchown,
    "mknod": _mknod,
    "mknodat": _mknodat,
    "rename": _rename,
    "renameat": _renameat,
    "renameat2": _renameat2,
    "rmdir": _rmdir,
    "unlink": _unlink,
    "unlinkat": _unlinkat,
}
