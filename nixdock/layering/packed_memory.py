"""The memory of an image with many store paths, packed: a quarter of the size of its text.

The hashes of store paths can't be compressed; eight characters of each are five bytes. The names
and the counts are JSON, compressed with bzip2: unlike deflate, it has had one encoder for decades,
so that the config of an image is the same on every machine. Base 85 has no character that JSON
escapes.
"""

from __future__ import annotations

import bz2
from base64 import b85decode, b85encode
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import orjson

from nixdock.errors import LayeringError
from nixdock.layering.plan_file import Count
from nixdock.layering.plan_history import ABBREVIATION, ChangeCounts

__all__ = ["Unpacked", "pack_memory", "unpack_memory"]

_ALPHABET: Final = "0123456789abcdfghijklmnpqrsvwxyz"
_BYTES: Final = ABBREVIATION * 5 // 8
_MOST_UNPACKED: Final = 16 << 20


class Unpacked(msgspec.Struct, frozen=True):
    """For each layer, the abbreviated base names of its paths; and the counts of packages."""

    layers: list[str]
    counts: dict[str, tuple[Count, Count]]


def pack_memory(
    layers: Sequence[Sequence[tuple[str, str]]], counts: Mapping[str, ChangeCounts]
) -> str:
    """Pack layers, whose paths are given by their abbreviated hash and their name, and counts."""
    hashes = b"".join(
        _number(start).to_bytes(_BYTES, "big") for layer in layers for start, _ in layer
    )
    text = orjson.dumps(
        {
            "layers": [" ".join(name for _, name in layer) for layer in layers],
            "counts": {key: [c.seen, c.changed] for key, c in counts.items()},
        }
    )
    return f"{b85encode(hashes).decode()} {b85encode(bz2.compress(text)).decode()}"


def unpack_memory(packed: str, origin: str) -> Unpacked:
    """Return what `pack_memory` has packed; raise LayeringError if it is damaged."""
    try:
        hashes, text = (b85decode(part) for part in packed.split(" "))
        decompressor = bz2.BZ2Decompressor()
        unpacked = msgspec.json.decode(
            decompressor.decompress(text, max_length=_MOST_UNPACKED), type=Unpacked
        )
    except (ValueError, OSError, RuntimeError) as error:
        raise LayeringError(f"{origin}: packed: {error}", key="packed") from None
    paths = sum(layer.count(" ") + 1 for layer in unpacked.layers)
    if not decompressor.eof or len(hashes) != _BYTES * paths:
        raise LayeringError(f"{origin}: packed: it has too much or too little", key="packed")
    starts = iter([_start(hashes[at : at + _BYTES]) for at in range(0, len(hashes), _BYTES)])
    layers = [
        " ".join(f"{next(starts)}-{name}" for name in layer.split(" ")) for layer in unpacked.layers
    ]
    return Unpacked(layers, unpacked.counts)


def _number(start: str) -> int:
    number = 0
    for letter in start:
        number = number * len(_ALPHABET) + _ALPHABET.index(letter)
    return number


def _start(raw: bytes) -> str:
    number = int.from_bytes(raw, "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * ABBREVIATION - 5, -1, -5))
