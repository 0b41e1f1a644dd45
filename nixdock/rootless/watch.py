"""Changes of owners by programs that fakeroot does not reach, because they are linked statically.

The kernel tells of each of their calls before it is made (seccomp_unotify(2)), and takes the answer
that it has succeeded: who the file's owner is to be is remembered here. Programs that fakeroot
reaches make no such calls.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import stat
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from nixdock.rootless.fakeroot import FakeFile, Inode

__all__ = ["Owners", "watched"]

# linux/seccomp.h: struct seccomp_notif and seccomp_notif_resp, and the calls that fill these.
_NOTICE: Final = struct.Struct("QIIiIQ6Q")
_ANSWER: Final = struct.Struct("QqiI")
_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
_UNCHANGED: Final = 0xFFFFFFFF
_AT_CWD: Final = 0xFFFFFF9C
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_EMPTY_PATH: Final = 0x1000
_MOST_LINKS: Final = 40
_MOST_PATH: Final = 4096
_PATIENCE: Final = 0.2

_CHOWN, _FCHOWN, _LCHOWN, _FCHOWNAT = "chown", "fchown", "lchown", "fchownat"
# By the kernel's names of machines: AUDIT_ARCH, and the numbers of the calls.
CALLS: Final[Mapping[int, Mapping[int, str]]] = {
    0xC000003E: {92: _CHOWN, 93: _FCHOWN, 94: _LCHOWN, 260: _FCHOWNAT},
    0xC00000B7: {54: _FCHOWNAT, 55: _FCHOWN},
}

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class _Owner(NamedTuple):
    uid: int | None
    gid: int | None


class _Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Owners:
    """The owners that files were given, in order; `apply` says what files are with these."""

    def __init__(self) -> None:
        self._owners: dict[Inode, _Owner] = {}
        # As long as a file is open its number is not given to another one.
        self._open: list[int] = []

    def give(self, descriptor: int, uid: int, gid: int) -> None:
        """Remember the owner of an open file, which is kept open."""
        info = os.fstat(descriptor)
        inode = Inode(info.st_dev, info.st_ino)
        if inode in self._owners:
            os.close(descriptor)
        else:
            self._open.append(descriptor)
        old = self._owners.get(inode, _Owner(None, None))
        self._owners[inode] = _Owner(
            old.uid if uid == _UNCHANGED else uid, old.gid if gid == _UNCHANGED else gid
        )

    def apply(self, fakes: Mapping[Inode, FakeFile]) -> dict[Inode, FakeFile]:
        """Return what files are, of which `fakes` is what fakeroot says."""
        known = dict(fakes)
        for descriptor in self._open:
            info = os.fstat(descriptor)
            inode = Inode(info.st_dev, info.st_ino)
            owner, file = self._owners[inode], known.get(inode, FakeFile(info.st_mode))
            known[inode] = FakeFile(
                mode=file.mode,
                uid=file.uid if owner.uid is None else owner.uid,
                gid=file.gid if owner.gid is None else owner.gid,
                rdev=file.rdev,
            )
        return known

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()


@contextmanager
def watched() -> Iterator[tuple[int, Owners]]:
    """Give a socket's descriptor, to which a program sends the listener of its calls, and owners.

    The listener is served until the block ends; a program that sends none does without.
    """
    ours, theirs = socket.socketpair()
    owners = Owners()
    ended = threading.Event()
    thread = threading.Thread(target=_serve, args=(ours, owners, ended), daemon=True)
    thread.start()
    try:
        yield theirs.fileno(), owners
    finally:
        ended.set()
        theirs.close()
        thread.join()
        ours.close()
        owners.close()


def _serve(connection: socket.socket, owners: Owners, ended: threading.Event) -> None:
    while not ended.is_set():
        if not select.select([connection], [], [], _PATIENCE)[0]:
            continue
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
        if not descriptors:
            return
        with os.fdopen(descriptors[0], "rb", buffering=0) as listener:
            _answer_all(listener.fileno(), owners, ended)


def _answer_all(listener: int, owners: Owners, ended: threading.Event) -> None:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while not ended.is_set():
        events = poll.poll(_PATIENCE * 1000)
        if any(event & select.POLLHUP for _, event in events):
            return
        if not events:
            continue
        notice = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, notice)
        except OSError:
            # Whoever called was killed meanwhile.
            continue
        number, pid, _, call, machine, _, *arguments = _NOTICE.unpack(notice)
        error = _handle(CALLS.get(machine, {}).get(call), pid, arguments, owners)
        try:
            fcntl.ioctl(listener, _SEND, _ANSWER.pack(number, 0, -error, 0))
        except OSError:
            continue


def _handle(call: str | None, pid: int, arguments: list[int], owners: Owners) -> int:
    """Remember what a call would have done, and return its error, 0 if it succeeds."""
    try:
        if call == _FCHOWN:
            file, uid, gid = arguments[:3]
            descriptor = os.open(f"/proc/{pid}/fd/{file}", os.O_PATH | os.O_CLOEXEC)
        elif call == _FCHOWNAT:
            start, path, uid, gid, flags = arguments[:5]
            name = _string(pid, path)
            if not name and flags & _AT_EMPTY_PATH:
                place = "cwd" if start & _UNCHANGED == _AT_CWD else f"fd/{start}"
                descriptor = os.open(f"/proc/{pid}/{place}", os.O_PATH | os.O_CLOEXEC)
            else:
                follow = not flags & _AT_SYMLINK_NOFOLLOW
                descriptor = _opened(pid, start & _UNCHANGED, name, follow=follow)
        else:
            path, uid, gid = arguments[:3]
            descriptor = _opened(pid, _AT_CWD, _string(pid, path), follow=call == _CHOWN)
    except OSError as error:
        return error.errno or 1
    owners.give(descriptor, uid & _UNCHANGED, gid & _UNCHANGED)
    return 0


def _string(pid: int, address: int) -> bytes:
    """Return the text at an address of another process."""
    text = b""
    while b"\0" not in text and len(text) < _MOST_PATH:
        # A page at a time: the next one need not be there.
        size = min(_MOST_PATH - (address + len(text)) % _MOST_PATH, _MOST_PATH)
        buffer = ctypes.create_string_buffer(size)
        ours = _Piece(ctypes.cast(buffer, ctypes.c_void_p), size)
        theirs = _Piece(address + len(text), size)
        read = _LIBC.process_vm_readv(
            pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, ctypes.c_ulong(0)
        )
        if read <= 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        text += buffer.raw[:read]
    return text.partition(b"\0")[0]


def _opened(pid: int, start: int, path: bytes, *, follow: bool) -> int:
    """Open a file by its name in another process, whose root may be another one."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    if not path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
    place = "cwd" if start == _AT_CWD else f"fd/{start}"
    at = os.dup(root) if path.startswith(b"/") else os.open(f"/proc/{pid}/{place}", os.O_PATH)
    parts = [part for part in path.split(b"/") if part and part != b"."][::-1]
    links = 0
    try:
        while parts:
            part = parts.pop()
            if part == b".." and os.path.samestat(os.fstat(at), os.fstat(root)):
                continue
            found = os.open(part, flags, dir_fd=at)
            if stat.S_ISLNK(os.fstat(found).st_mode) and (parts or follow):
                target = os.readlink(b"", dir_fd=found)
                os.close(found)
                links = _counted(links)
                if target.startswith(b"/"):
                    os.close(at)
                    at = os.dup(root)
                parts += [p for p in target.split(b"/") if p and p != b"."][::-1]
                continue
            os.close(at)
            at = found
    except BaseException:
        os.close(at)
        raise
    finally:
        os.close(root)
    return at


def _counted(links: int) -> int:
    if links == _MOST_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return links + 1
