"""Two SHA-256 hashes in one thread, in little more than the time of one."""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from typing import Final

from nixdock.native.library import native_library
from nixdock.system.buffers import whole_bytes

__all__ = ["TwoHashes", "can_hash_two"]

_BLOCK: Final = 64
# FIPS 180-4, 5.3.3.
_START: Final = (
    *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
    *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
)

_State = ctypes.c_uint32 * 8


def can_hash_two() -> bool:
    """Tell whether the native packer is to be used, and knows this CPU."""
    library = native_library()
    return library is not None and _is_there(library)


@cache
def _is_there(library: ctypes.CDLL) -> bool:
    return bool(library.nixdock_sha256_is_there())


class TwoHashes:
    """The hashes of two streams; `can_hash_two` says whether it can be used."""

    def __init__(self) -> None:
        library = native_library()
        if library is None:
            raise AssertionError("the native packer is not there")
        self._hash_blocks = library.nixdock_sha256_blocks
        self._states = (_State(*_START), _State(*_START))
        self._rests = [b"", b""]
        self._sizes = [0, 0]

    def update(self, first: memoryview | bytes, second: memoryview | bytes) -> None:
        """Hash the next bytes of both; it takes the least time if they are equally many."""
        one, two = self._whole_blocks(0, first), self._whole_blocks(1, second)
        both = min(len(one), len(two))
        if both:
            self._hash(one[:both], two[:both])
        if len(one) > both:
            self._hash_alone(0, one[both:])
        if len(two) > both:
            self._hash_alone(1, two[both:])

    def digest(self, lane: int) -> str:
        """Return the digest of all bytes of one stream, 0 or 1; it can't be continued then."""
        rest, size = self._rests[lane], self._sizes[lane]
        padding = b"\x80" + bytes(-(len(rest) + 9) % _BLOCK)
        self._hash_alone(lane, memoryview(rest + padding + struct.pack(">Q", 8 * size)))
        return "sha256:" + struct.pack(">8I", *self._states[lane]).hex()

    def _whole_blocks(self, lane: int, data: memoryview | bytes) -> memoryview:
        """Return the blocks that are to be hashed, and keep the bytes after them for later."""
        view = memoryview(data)
        self._sizes[lane] += len(view)
        if rest := self._rests[lane]:
            missing = _BLOCK - len(rest)
            rest += view[:missing]
            view = view[missing:]
            if len(rest) == _BLOCK:
                self._hash_alone(lane, memoryview(rest))
                rest = b""
        end = len(view) - len(view) % _BLOCK
        self._rests[lane] = rest + view[end:]
        return view[:end]

    def _hash(self, first: memoryview, second: memoryview) -> None:
        one, two = self._states
        self._hash_blocks(one, _pointer(first), two, _pointer(second), len(first) // _BLOCK)

    def _hash_alone(self, lane: int, data: memoryview) -> None:
        # A hash of the same bytes, which nobody wants, keeps it company.
        pointer = _pointer(data)
        self._hash_blocks(self._states[lane], pointer, _State(), pointer, len(data) // _BLOCK)


def _pointer(view: memoryview) -> object:
    """Return what a C function takes as the address of the bytes."""
    if view.readonly:
        return whole_bytes(view)
    return (ctypes.c_char * len(view)).from_buffer(view)
