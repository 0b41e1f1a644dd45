"""Telling encoders apart by what they make of a sample, since few libraries name their version."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["encoder_digest"]

_SIZES: Final = (0, 1, 3, 7, *range(20, 400, 20), 1_000, 5_000, 33_000, 100_000)
_WORDS: Final = tuple(f"{'x' * (i % 3)}{i * i:o} " for i in range(97))


def encoder_digest(compress: Callable[[bytes], bytes]) -> str:
    """Return the SHA-256 hex digest of a sample's pieces, each compressed alone.

    Two encoders with the same digest almost certainly compress everything to the same bytes: the
    pieces are of many sizes, and their bytes are like text, like tables of numbers, and random.
    """
    digest = hashlib.sha256()
    for piece in _pieces():
        compressed = compress(piece)
        digest.update(len(compressed).to_bytes(8, "big") + compressed)
    return digest.hexdigest()


def _pieces() -> Iterator[bytes]:
    for size in _SIZES:
        noise = hashlib.shake_256(size.to_bytes(4, "big")).digest(size)
        # So many words are enough: most have more than four bytes.
        words = [_WORDS[byte % 97] for byte in noise[: max(16, size // 4)]]
        yield "".join(words).encode()[:size]
        yield noise.translate(bytes(byte.bit_count() for byte in range(256)))
        yield bytes(len(noise) // 2) + noise[: size // 8] * 2
