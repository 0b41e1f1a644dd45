"""The arguments of another process's system calls: strings in its memory, and paths.

A system call has only numbers for arguments, such as the address of a path. The process that made
the call has its own memory, file descriptors, current directory, root directory and mounts, so
both addresses and paths must be looked up there. /proc/PID gives access to all of these.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["AT_CWD", "AT_EMPTY_PATH", "AT_SYMLINK_NOFOLLOW", "Caller"]

AT_CWD: Final = 0xFFFFFF9C
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EMPTY_PATH: Final = 0x1000
_UNSIGNED: Final = 0xFFFFFFFF
_MOST_LINKS: Final = 40
_MOST_PATH: Final = 4096
_PAGE: Final = 4096
_LOCATE: Final = os.O_PATH | os.O_CLOEXEC
_UMASK: Final = re.compile(rb"^Umask:\s*([0-7]+)$", re.MULTILINE)

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class _MemoryRange(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Caller:
    """A process that waits in a system call.

    The context managers give O_PATH descriptors of this process, which they close at the end. They
    raise the OSError that the kernel would return to the caller.

    `is_waiting` tells whether the process still waits, and is asked after each look into it: the ID
    of a process that has been killed may belong to another one, whose files must not be taken for
    those of the caller. Then ProcessLookupError is raised.
    """

    def __init__(self, pid: int, is_waiting: Callable[[], bool]) -> None:
        self._process = f"/proc/{pid}"
        self._pid = pid
        self._is_waiting = is_waiting

    def _check(self) -> None:
        if not self._is_waiting():
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def has_mapped(self, library: str) -> bool:
        """Tell whether the process has mapped a file whose path contains `library`."""
        maps = Path(self._process, "maps").read_bytes()
        self._check()
        return library.encode() in maps

    def umask(self) -> int:
        """Return the mode bits that the process keeps off its new files."""
        umask = _UMASK.search(Path(self._process, "status").read_bytes())
        self._check()
        return 0o022 if umask is None else int(umask[1], 8)

    def string_at(self, address: int) -> bytes:
        """Return the NUL-terminated string at an address, or as much of it as a path may have."""
        string = b""
        while b"\0" not in string and len(string) < _MOST_PATH:
            # Stop at the end of the page: the next one need not be mapped.
            size = _PAGE - (address + len(string)) % _PAGE
            buffer = ctypes.create_string_buffer(size)
            local = _MemoryRange(ctypes.cast(buffer, ctypes.c_void_p), size)
            remote = _MemoryRange(address + len(string), size)
            count = _LIBC.process_vm_readv(
                self._pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, ctypes.c_ulong(0)
            )
            if count <= 0:
                raise _error(ctypes.get_errno())
            string += buffer.raw[:count]
        self._check()
        return string.partition(b"\0")[0]

    @contextmanager
    def open_descriptor(self, number: int) -> Iterator[int]:
        """Open the file behind one of the process's descriptors, or its current directory."""
        name = "cwd" if number & _UNSIGNED == AT_CWD else f"fd/{number & _UNSIGNED}"
        with _closing(os.open(f"{self._process}/{name}", _LOCATE)) as descriptor:
            self._check()
            yield descriptor

    @contextmanager
    def open_file(self, directory: int, address: int, flags: int = 0) -> Iterator[int]:
        """Open the file at the path at `address`, relative to the process's `directory`.

        `flags` are those of system calls whose names end in `at`.
        """
        path = self.string_at(address)
        if not path and flags & AT_EMPTY_PATH:
            with self.open_descriptor(directory) as descriptor:
                yield descriptor
            return
        follow = not flags & AT_SYMLINK_NOFOLLOW
        with _closing(self._resolve(directory, _parts(path), follow=follow)) as descriptor:
            yield descriptor

    @contextmanager
    def open_parent(self, directory: int, address: int) -> Iterator[tuple[int, bytes]]:
        """Open the parent directory of the path at `address`; yield it and the path's last part."""
        *parents, name = _parts(self.string_at(address)) or [b"."]
        if name in {b".", b"..", b"/"}:
            raise _error(errno.EBUSY)
        with _closing(self._resolve(directory, parents or [b"."], follow=True)) as parent:
            yield parent, name

    def _resolve(self, directory: int, parts: list[bytes], *, follow: bool) -> int:
        """Open a path, given its parts, as the kernel would for the caller.

        Opening the path as a whole would resolve absolute symlinks in this process's root. With
        `follow`, a symlink at the end is followed, too.
        """
        if not parts:
            raise _error(errno.ENOENT)
        root = os.open(f"{self._process}/root", _LOCATE)
        current = -1
        try:
            self._check()
            with self.open_descriptor(directory if parts[0] != b"/" else AT_CWD) as start:
                current = os.dup(start)
            # Invariants: `current` is open, and it is the file that all parts so far lead to.
            # `remaining` are the parts after it, the next one last. Each turn takes one part, and
            # only a symlink adds parts, which happens at most _MOST_LINKS times: the loop ends.
            remaining, links = parts[::-1], 0
            while remaining:
                part = remaining.pop()
                is_above_root = part == b".." and os.path.samestat(
                    os.fstat(current), os.fstat(root)
                )
                if part == b"/" or is_above_root:
                    opened = os.dup(root)
                else:
                    opened = os.open(part, _LOCATE | os.O_NOFOLLOW, dir_fd=current)
                if (remaining or follow) and (target := _link_target(opened)):
                    # A relative target starts at the symlink's directory, which is `current`.
                    os.close(opened)
                    links += 1
                    _check_links(links)
                    remaining += _parts(target)[::-1]
                else:
                    os.close(current)
                    current = opened
        except BaseException:
            if current >= 0:
                os.close(current)
            raise
        finally:
            os.close(root)
        return current


def _link_target(descriptor: int) -> bytes:
    """Return the target of an open symlink, nothing for any other file.

    Trying is faster than asking for the kind of file: each `os.stat` is a request to fakeroot.
    """
    try:
        return os.readlink(b"", dir_fd=descriptor)
    except OSError:
        return b""


def _check_links(count: int) -> None:
    """Raise ELOOP if a path has led through more symlinks than the kernel allows."""
    if count > _MOST_LINKS:
        raise _error(errno.ELOOP)


def _parts(path: bytes) -> list[bytes]:
    """Split a path into its parts; the first part of an absolute path is `/`."""
    parts = [part for part in path.split(b"/") if part and part != b"."]
    if path.startswith(b"/"):
        return [b"/", *parts]
    return parts or ([b"."] if path else [])


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
