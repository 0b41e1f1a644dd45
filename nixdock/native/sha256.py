"""SHA-256 that hashes two streams in one thread in little more than the time of one.

A hash keeps the bytes of its last update until another hash in the same thread has some, too; then
the native packer hashes both in turns. It does not matter which streams they are: two layers, a NAR
and the layer made from it, a layer before and after compression.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
import threading
from functools import cache
from typing import Final, Protocol

from nixdock.native.addresses import address_of
from nixdock.native.library import native_library

__all__ = ["Sha256", "can_hash_two", "new_sha256"]

_BLOCK: Final = 64
# FIPS 180-4, 5.3.3.
_START: Final = (
    *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
    *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
)
_NOTHING: Final = memoryview(b"")

_State = ctypes.c_uint32 * 8


class Sha256(Protocol):
    """A SHA-256 that is being computed."""

    def update(self, data: memoryview | bytes, /) -> object:
        """Hash the next bytes, which must never change."""

    def digest(self) -> bytes:
        """Return the digest of all bytes."""


def new_sha256() -> Sha256:
    """Return a SHA-256 of no bytes yet: one that waits for company, or else hashlib's."""
    library = native_library()
    if library is None or not _is_there(library):
        return hashlib.sha256()
    return _SociableSha256(library)


def can_hash_two() -> bool:
    """Tell whether the native packer is to be used, and knows this CPU."""
    library = native_library()
    return library is not None and _is_there(library)


@cache
def _is_there(library: ctypes.CDLL) -> bool:
    return bool(library.nixdock_sha256_is_there())


class _InThread(threading.local):
    # The hash with bytes that wait for company.
    waiting: _SociableSha256 | None = None


_in_thread: Final = _InThread()


def _forget() -> None:
    """Leave to the parent what waits there: in a child, nobody would unlock it."""
    _in_thread.waiting = None


os.register_at_fork(after_in_child=_forget)


class _SociableSha256:
    """A SHA-256 for one thread at a time.

    Another thread may hash what waits, if the hash was updated there before; so that, and the state
    while something waits, are only used with the lock.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._hash_blocks = library.nixdock_sha256_blocks
        self._state = _State(*_START)
        self._size = 0
        # Less than a block at the end.
        self._rest = b""
        # Whole blocks before it.
        self._waiting = _NOTHING
        self._lock = threading.Lock()

    def update(self, data: memoryview | bytes, /) -> None:
        """Hash the next bytes, or keep them for a while."""
        self._size += len(data)
        view = memoryview(data)
        if self._rest:
            view = self._complete_block(view)
        end = len(view) - len(view) % _BLOCK
        if end < len(view):
            self._rest += view[end:]
        if not end:
            return
        view = view[:end]
        other = _in_thread.waiting
        if other is not self:
            self._hash_waiting()
            if other is not None:
                view = self._hash_with(other, view)
        if view:
            self._hash_waiting()
            with self._lock:
                self._waiting = view
            _in_thread.waiting = self

    def digest(self) -> bytes:
        """Return the digest of all bytes."""
        self._hash_waiting()
        state = _State(*self._state)
        padding = b"\x80" + bytes(-(len(self._rest) + 9) % _BLOCK)
        last = self._rest + padding + struct.pack(">Q", 8 * self._size)
        self._hash_blocks(state, last, None, None, len(last) // _BLOCK)
        return struct.pack(">8I", *state)

    def _complete_block(self, view: memoryview) -> memoryview:
        """Complete the block that earlier bytes began; return the bytes after it."""
        missing = _BLOCK - len(self._rest)
        self._rest += view[:missing]
        if len(self._rest) == _BLOCK:
            self._hash_waiting()
            self._hash_blocks(self._state, self._rest, None, None, 1)
            self._rest = b""
        return view[missing:]

    def _hash_with(self, other: _SociableSha256, view: memoryview) -> memoryview:
        """Hash blocks together with those that another hash keeps; return what is left of them."""
        with other._lock:
            theirs = other._waiting
            both = min(len(theirs), len(view))
            if both:
                mine = self._state, address_of(view)
                self._hash_blocks(*mine, other._state, address_of(theirs), both // _BLOCK)
                other._waiting = theirs[both:]
        return view[both:]

    def _hash_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, _NOTHING
            if waiting:
                blocks = len(waiting) // _BLOCK
                self._hash_blocks(self._state, address_of(waiting), None, None, blocks)
