"""The strings of which a NAR is a sequence.

A string is eight bytes of length, in little-endian order, the bytes, and zeros up to a multiple of
eight (Nix manual, "Nix Archive (NAR) format").
"""

from __future__ import annotations

import io
from typing import Final

from nixdock.errors import StoreError

__all__ = ["CHUNK", "StringReader"]

CHUNK: Final = 1 << 20
"""How many bytes of the stream are read at once."""

_ZEROS: Final = bytes(8)
# How much of the next piece is copied behind the rest of the last one, at least.
_BRIDGE: Final = 1 << 12


class StringReader:
    """Reads strings of the NAR in `stream`, for a subclass that knows their order.

    `place` says where the NAR is, for errors. Methods raise StoreError at the end of the stream.
    """

    def __init__(self, stream: io.RawIOBase | io.BufferedIOBase, place: str) -> None:
        self._stream = stream
        self._place = place
        # What was read and is not used yet is window[at:]; `start` is its place in the stream.
        self._window = b""
        self._at = 0
        self._start = 0
        # The window may be a bridge: the last so many bytes of one piece, and the first of
        # `_piece`, which is not copied as a whole. There is none if this is 0.
        self._bridged = 0
        self._piece = b""

    def _skip_padding(self, size: int) -> None:
        if size and not self._follows(_ZEROS[:size]):
            raise self._error("there is padding that is not zero")

    def _number(self) -> int:
        return int.from_bytes(self._take(8), "little")

    def _text(self, most: int, what: str) -> bytes:
        size = self._number()
        if size > most:
            raise self._error(f"{what} has {size} bytes, more than {most}")
        at = self._at
        end = at + size + -size % 8
        if end <= len(self._window) and not any(self._window[at + size : end]):
            self._at = end
            return self._window[at : at + size]
        text = self._take(size)
        self._skip_padding(-size % 8)
        return text

    def _take(self, size: int) -> bytes:
        if self._available(size) < size:
            raise self._truncated()
        taken = self._window[self._at : self._at + size]
        self._at += size
        return taken

    def _follows(self, data: bytes) -> bool:
        """Return whether `data` comes next, and skip it then; raise StoreError at the end."""
        size = len(data)
        if len(self._window) - self._at < size and self._available(size) < size:
            # A part of another string may be all that is left.
            if data.startswith(self._window[self._at :]):
                raise self._truncated()
            return False
        if not self._window.startswith(data, self._at):
            return False
        self._at += size
        return True

    def _expect(self, data: bytes, what: str) -> None:
        if not self._follows(data):
            raise self._error(f"expected {what}")

    def _available(self, size: int) -> int:
        """Return how many bytes are in the window: at least `size`, unless the stream ends."""
        while (count := len(self._window) - self._at) < size:
            if self._bridged:
                self._cross()
                continue
            more = self._stream.read(CHUNK)
            if not more:
                return count
            self._start += self._at
            self._at = 0
            if not count:
                self._window = more
                continue
            head = more[: max(_BRIDGE, size)]
            self._window = self._window[-count:] + head
            if len(head) < len(more):
                self._bridged, self._piece = count, more
        return count

    def _cross(self) -> None:
        """Make the piece behind a bridge the window, with what is left before it."""
        left = self._bridged - self._at
        self._start += min(self._at, self._bridged)
        self._window = (
            self._piece if left <= 0 else self._window[self._at : self._bridged] + self._piece
        )
        self._at = max(-left, 0)
        self._bridged, self._piece = 0, b""

    def _truncated(self) -> StoreError:
        end = self._start + len(self._window)
        return StoreError(
            f"{self._place} is a truncated NAR: it ends after {end} bytes", place=self._place
        )

    def _error(self, problem: str) -> StoreError:
        return StoreError(
            f"{self._place} is not a valid NAR: at byte {self._start + self._at}, {problem}",
            place=self._place,
        )
