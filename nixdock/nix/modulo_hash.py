"""Hashes of NARs that contain the hash of their own store path.

Nix hashes such a NAR as if zeros were in that place, because the path follows from this hash.
"""

from __future__ import annotations

import hashlib

__all__ = ["ModuloHash"]


class ModuloHash:
    """The hash of bytes in which zeros take the place of `own`, as Nix's HashModuloSink has it.

    The places are hashed after the bytes, so that it matters where there were zeros before; but Nix
    2.17 and later leaves them out.
    """

    def __init__(self, algorithm: str, own: bytes) -> None:
        self._state = hashlib.new(algorithm, usedforsecurity=False)
        self._own = own
        self._zeros = bytes(len(own))
        self._places: list[int] = []
        # The last bytes, which may be the beginning of `own`, and where they are.
        self._rest = b""
        self._at = 0

    def update(self, data: memoryview | bytes, /) -> None:
        """Hash the next bytes."""
        text = self._rest + data
        place = text.find(self._own)
        while place >= 0:
            self._places.append(self._at + place)
            place = text.find(self._own, place + len(self._own))
        text = text.replace(self._own, self._zeros)
        end = max(0, len(text) - len(self._own) + 1)
        self._state.update(text[:end])
        self._rest = text[end:]
        self._at += end

    def digests(self) -> tuple[bytes, bytes]:
        """Return the digest of all bytes with the places, and without them."""
        state = self._state.copy()
        state.update(self._rest)
        without = state.digest()
        for place in self._places:
            state.update(b"|%d" % place)
        return state.digest(), without
