"""What another process means by the arguments of its calls: texts, and names of files."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Iterator
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
_LOOK: Final = os.O_PATH | os.O_CLOEXEC
_UMASK: Final = re.compile(rb"^Umask:\s*([0-7]+)$", re.MULTILINE)

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class _Piece(ctypes.Structure):
    """A piece of memory: struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Caller:
    """A process that is waiting in a call; its root and its mounts may be others than ours."""

    def __init__(self, pid: int) -> None:
        self._process = f"/proc/{pid}"
        self._pid = pid

    def has_mapped(self, library: str) -> bool:
        """Tell whether the process has loaded a library, by a part of its name."""
        return library.encode() in Path(self._process, "maps").read_bytes()

    def umask(self) -> int:
        """Return the mode bits that the process does not want on what it makes."""
        found = _UMASK.search(Path(self._process, "status").read_bytes())
        return 0o022 if found is None else int(found[1], 8)

    def text(self, address: int) -> bytes:
        """Return the text at an address."""
        text = b""
        while b"\0" not in text and len(text) < _MOST_PATH:
            # Up to the end of a page at a time: the next one need not be there.
            size = _MOST_PATH - (address + len(text)) % _MOST_PATH
            buffer = ctypes.create_string_buffer(size)
            ours = _Piece(ctypes.cast(buffer, ctypes.c_void_p), size)
            theirs = _Piece(address + len(text), size)
            read = _LIBC.process_vm_readv(
                self._pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, ctypes.c_ulong(0)
            )
            if read <= 0:
                raise _error(ctypes.get_errno())
            text += buffer.raw[:read]
        return text.partition(b"\0")[0]

    @contextmanager
    def descriptor(self, number: int) -> Iterator[int]:
        """Give what one of the process's descriptors stands for."""
        place = "cwd" if number & _UNSIGNED == AT_CWD else f"fd/{number & _UNSIGNED}"
        with _closed(os.open(f"{self._process}/{place}", _LOOK)) as found:
            yield found

    @contextmanager
    def file(self, start: int, address: int, flags: int = 0) -> Iterator[int]:
        """Give the file of a name, with the flags of calls whose names end in `at`."""
        name = self.text(address)
        if not name and flags & AT_EMPTY_PATH:
            with self.descriptor(start) as found:
                yield found
            return
        follow = not flags & AT_SYMLINK_NOFOLLOW
        with _closed(self._resolved(start, _parts(name), follow=follow)) as found:
            yield found

    @contextmanager
    def place(self, start: int, address: int) -> Iterator[tuple[int, bytes]]:
        """Give the directory that a name is in, and the last part of the name."""
        *above, last = _parts(self.text(address)) or [b"."]
        if last in {b".", b"..", b"/"}:
            raise _error(errno.EBUSY)
        with _closed(self._resolved(start, above or [b"."], follow=True)) as directory:
            yield directory, last

    def _resolved(self, start: int, parts: list[bytes], *, follow: bool) -> int:
        """Open a file by the parts of its name: links lead where they do in the process's root."""
        if not parts:
            raise _error(errno.ENOENT)
        root = os.open(f"{self._process}/root", _LOOK)
        at = -1
        try:
            with self.descriptor(start if parts[0] != b"/" else AT_CWD) as first:
                at = os.dup(first)
            left, links = parts[::-1], 0
            while left:
                part = left.pop()
                up = part == b".." and os.path.samestat(os.fstat(at), os.fstat(root))
                if part == b"/" or up:
                    found = os.dup(root)
                else:
                    found = os.open(part, _LOOK | os.O_NOFOLLOW, dir_fd=at)
                if (left or follow) and (target := _link_target(found)):
                    os.close(found)
                    links = _counted(links)
                    left += _parts(target)[::-1]
                else:
                    os.close(at)
                    at = found
        except BaseException:
            if at >= 0:
                os.close(at)
            raise
        finally:
            os.close(root)
        return at


def _link_target(descriptor: int) -> bytes:
    """Return where an open link leads, nothing for all else; fakeroot need not be asked."""
    try:
        return os.readlink(b"", dir_fd=descriptor)
    except OSError:
        return b""


def _counted(links: int) -> int:
    if links == _MOST_LINKS:
        raise _error(errno.ELOOP)
    return links + 1


def _parts(name: bytes) -> list[bytes]:
    """Split a name; the first part of an absolute one is the root."""
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if name.startswith(b"/"):
        return [b"/", *parts]
    return parts or ([b"."] if name else [])


@contextmanager
def _closed(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
