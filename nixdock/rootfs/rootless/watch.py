"""Making the system calls of statically linked programs under fakeroot, in their stead.

fakeroot is a library that replaces the C library's functions, such as chown. Statically linked
programs do not load it, so the kernel would refuse to change owners for them, and fakeroot would
not learn that they have removed a file whose inode number another file may get.

The supervisor in this module runs under fakeroot. It receives notifications of the system calls of
all programs (see `calls`). If a program has loaded fakeroot's library, which has done its part
before the call, the kernel makes the call. Otherwise the supervisor makes the same call on the same
file: fakeroot remembers it for all other programs, in the order of the calls, and the caller gets
the result. Only the static program itself keeps seeing files as they are on disk.

Each function for a call takes the caller and the call's arguments. It returns an errno, 0 for
success, or None to have the kernel make the call.
"""

from __future__ import annotations

import errno
import os
import re
import select
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from nixdock.rootfs.rootless.caller import AT_CWD, AT_SYMLINK_NOFOLLOW, Caller
from nixdock.rootfs.rootless.calls import Notification, is_waiting, receive, respond

__all__ = ["watch"]

_REMOVE_DIRECTORY: Final = 0x200
_UNSIGNED: Final = 0xFFFFFFFF
_DEVICES: Final = (stat.S_IFCHR, stat.S_IFBLK)
_MOUNT_ID: Final = re.compile(rb"^mnt_id:\s*(\d+)$", re.MULTILINE)
_MOST_KNOWN: Final = 10_000


def watch(listener: int, child: int, library: str) -> None:
    """Respond to the notifications of `listener` until the process `child` has ended.

    `library` is the file name of fakeroot's library: the kernel makes the calls of programs that
    have loaded it.
    """
    known: dict[tuple[int, int], bool] = {}
    # The caller's umask applies instead: see `_mknodat`.
    os.umask(0)
    child_end = os.pidfd_open(child)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(child_end, select.POLLIN)
    try:
        # Each turn handles one event: the child's end, a notification, or the end of the last
        # process with the filter. The listener reports the last event from then on, so it must not
        # be polled any more: only the child's end is left to wait for.
        while child_end not in (ready := dict(poll.poll())):
            if ready.get(listener, 0) & ~select.POLLIN:
                poll.unregister(listener)
                continue
            notification = receive(listener)
            if notification is not None:
                waits = partial(is_waiting, listener, notification)
                respond(listener, notification, _make_call(notification, library, known, waits))
    finally:
        os.close(child_end)


def _make_call(
    notification: Notification,
    library: str,
    known: dict[tuple[int, int], bool],
    is_waiting: Callable[[], bool],
) -> int | None:
    """Make a call; return its errno, 0 for success, or None if the kernel is to make it.

    `known` caches whether the program that has an instruction in a process has loaded the library.
    """
    caller = Caller(notification.pid, is_waiting)
    # Reading the memory map takes longer than everything else here. A program makes its calls from
    # few instructions, and a program that replaces it in the same process from others.
    key = notification.pid, notification.instruction
    if key not in known:
        if len(known) == _MOST_KNOWN:
            known.clear()
        try:
            has_mapped = caller.has_mapped(library)
        except OSError:
            return None
        known[key] = has_mapped
    if known[key]:
        return None
    try:
        return _CALLS[notification.call](caller, *notification.arguments)
    except OSError as error:
        return error.errno or errno.EIO


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _id(value: int) -> int:
    """Return a user or group id; -1 leaves that of the file unchanged."""
    return -1 if value & _UNSIGNED == _UNSIGNED else value & _UNSIGNED


def _fchown(caller: Caller, file: int, uid: int, gid: int, *_: int) -> int:
    with caller.open_descriptor(file) as descriptor:
        os.chown(_path(descriptor), _id(uid), _id(gid))
    return 0


def _fchownat(
    caller: Caller, directory: int, path: int, uid: int, gid: int, flags: int, *_: int
) -> int:
    with caller.open_file(directory, path, flags) as descriptor:
        os.chown(_path(descriptor), _id(uid), _id(gid))
    return 0


def _chown(caller: Caller, path: int, uid: int, gid: int, *_: int) -> int:
    return _fchownat(caller, AT_CWD, path, uid, gid, 0)


def _lchown(caller: Caller, path: int, uid: int, gid: int, *_: int) -> int:
    return _fchownat(caller, AT_CWD, path, uid, gid, AT_SYMLINK_NOFOLLOW)


def _fchmod(caller: Caller, file: int, mode: int, *_: int) -> int:
    with caller.open_descriptor(file) as descriptor:
        os.chmod(_path(descriptor), mode & 0o7777)
    return 0


def _fchmodat2(caller: Caller, directory: int, path: int, mode: int, flags: int, *_: int) -> int:
    with caller.open_file(directory, path, flags) as descriptor:
        if stat.S_ISLNK(os.fstat(descriptor).st_mode):
            return errno.EOPNOTSUPP
        os.chmod(_path(descriptor), mode & 0o7777)
    return 0


def _fchmodat(caller: Caller, directory: int, path: int, mode: int, *_: int) -> int:
    return _fchmodat2(caller, directory, path, mode, 0)


def _chmod(caller: Caller, path: int, mode: int, *_: int) -> int:
    return _fchmodat2(caller, AT_CWD, path, mode, 0)


def _mknodat(
    caller: Caller, directory: int, path: int, mode: int, device: int, *_: int
) -> int | None:
    if stat.S_IFMT(mode & _UNSIGNED) not in _DEVICES:
        return None
    with caller.open_parent(directory, path) as (parent, name):
        # fakeroot would turn an existing file into a device.
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=parent, follow_symlinks=False)
            return errno.EEXIST
        number = device & _UNSIGNED
        # The kernel's encoding: the major number is in bits 8 to 19, the minor in the others.
        major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
        masked = mode & _UNSIGNED & ~caller.umask()
        os.mknod(name, masked, os.makedev(major, minor), dir_fd=parent)
    return 0


def _mknod(caller: Caller, path: int, mode: int, device: int, *_: int) -> int | None:
    return _mknodat(caller, AT_CWD, path, mode, device)


def _unlinkat(caller: Caller, directory: int, path: int, flags: int, *_: int) -> int | None:
    with caller.open_parent(directory, path) as (parent, name):
        if _is_mount_point(parent, name):
            return None
        remove = os.rmdir if flags & _REMOVE_DIRECTORY else os.unlink
        return _unless_forbidden(lambda: remove(name, dir_fd=parent))


def _unlink(caller: Caller, path: int, *_: int) -> int | None:
    return _unlinkat(caller, AT_CWD, path, 0)


def _rmdir(caller: Caller, path: int, *_: int) -> int | None:
    return _unlinkat(caller, AT_CWD, path, _REMOVE_DIRECTORY)


def _renameat2(
    caller: Caller,
    directory: int,
    path: int,
    new_directory: int,
    new_path: int,
    flags: int,
    *_: int,
) -> int | None:
    if flags & _UNSIGNED:
        return None
    with (
        caller.open_parent(directory, path) as old,
        caller.open_parent(new_directory, new_path) as new,
    ):
        # Only a file that is replaced concerns fakeroot; all others keep their inode numbers.
        if not _exists(*new) or _is_mount_point(*old) or _is_mount_point(*new):
            return None
        return _unless_forbidden(
            lambda: os.rename(old[1], new[1], src_dir_fd=old[0], dst_dir_fd=new[0])
        )


def _renameat(
    caller: Caller, directory: int, path: int, new_directory: int, new_path: int, *_: int
) -> int | None:
    return _renameat2(caller, directory, path, new_directory, new_path, 0)


def _rename(caller: Caller, path: int, new_path: int, *_: int) -> int | None:
    return _renameat2(caller, AT_CWD, path, AT_CWD, new_path, 0)


def _exists(directory: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unless_forbidden(change: Callable[[], None]) -> int | None:
    """Make a change; leave it to the kernel if only the caller has the rights for it."""
    try:
        change()
    except PermissionError:
        return None
    return 0


def _is_mount_point(directory: int, name: bytes) -> bool:
    """Tell whether a file is a mount point in the caller's namespace.

    The kernel protects mount points only from callers in that namespace: from here, they could be
    removed or renamed.
    """
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        return _mount_id(descriptor) != _mount_id(directory)
    finally:
        os.close(descriptor)


def _mount_id(descriptor: int) -> bytes | None:
    info = os.open(f"/proc/self/fdinfo/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        mount_id = _MOUNT_ID.search(os.read(info, 4096))
    finally:
        os.close(info)
    return None if mount_id is None else mount_id[1]


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
