"""The checksum CRC-64/GO-ISO, which tar-split keeps of each file."""

from __future__ import annotations

from typing import Final

__all__ = ["crc64"]

_BITS: Final = 64
_ONES: Final = (1 << _BITS) - 1
# The integers of as many bytes stay in the processor's cache.
_BLOCK: Final = 1 << 15


def crc64(data: bytes | memoryview, before: int = 0) -> int:
    """Return the checksum of bytes that follow others with the checksum `before`."""
    register = before ^ _ONES
    view = memoryview(data)
    for at in range(0, len(view), _BLOCK):
        register = _shifted(view[at : at + _BLOCK], register)
    return register ^ _ONES


def _shifted(block: memoryview, register: int) -> int:
    """Return the register after the bytes of `block`, which are not many.

    The polynomial of ISO 3309, x^64 + x^4 + x^3 + x + 1, has so few terms that dividing by it takes
    a few shifts of long integers: x^64n is x^4n + x^3n + x^n + 1 for each power of two n, because
    squares of sums are sums of squares. The algorithm reflects bytes, so that the lowest bit of an
    integer is its highest power.
    """
    bits = 8 * len(block)
    rest = int.from_bytes(block, "little") ^ register
    # `rest` is multiplied by x^64 and then divided, until 64 bits remain of so many.
    bits += _BITS
    while bits > _BITS:
        # Take the highest powers, at most 60n, which then land among those that remain.
        n = 1 << max(0, (bits // 124).bit_length() - 1)
        count = min(60 * n, bits - 64 * n)
        folded = rest & ((1 << count) - 1)
        # The four terms are the product of x^n + 1 and x^3n + 1.
        folded ^= folded << n
        folded ^= folded << 3 * n
        rest = (rest >> count) ^ (folded << (60 * n - count))
        bits -= count
    return rest
