"""Pack two uncompressed layers in one thread, which hashes them together.

To hash two streams in turns takes little more time than to hash one; see `native/sha256.c`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from nixdock.layers.compression import Compression
from nixdock.layers.layer import Layer, Packing, plain_blob
from nixdock.layers.progress import counted
from nixdock.native.sha256 import TwoHashes, can_hash_two
from nixdock.oci.layer_blob import LayerBlob
from nixdock.system.buffers import BUFFER_SIZE, Write
from nixdock.system.writers import FileWriter

__all__ = ["can_pack_two", "pack_two"]


def can_pack_two(compression: Compression) -> bool:
    """Tell whether layers can be packed in twos, if they have pieces."""
    return compression == Compression.NONE and can_hash_two()


def pack_two(
    layers: Sequence[Layer], files: Sequence[Path | None], packings: Sequence[Packing]
) -> list[LayerBlob]:
    """Pack two layers without compression, as `pack` does each of them.

    Both must have pieces (`Layer.tar_pieces`), and `can_pack_two` must be true.
    """
    hashes = TwoHashes()
    with ExitStack() as stack:
        lanes = []
        for layer, file, packing in zip(layers, files, packings, strict=True):
            writer = None if file is None else stack.enter_context(FileWriter(file))
            write = _nowhere if writer is None else writer.write
            pieces = layer.tar_pieces()
            if pieces is None:
                raise AssertionError("a layer without pieces can't be packed together with another")
            lanes.append(_Lane(pieces, counted(write, packing.advance)))
        first, second = lanes
        while first.wait() | second.wait():
            # Of two pieces, as much as both have; of one, all.
            most = min(len(first.piece), len(second.piece)) or BUFFER_SIZE
            hashes.update(first.take(most), second.take(most))
    return [
        plain_blob(layer, hashes.digest(lane), size)
        for lane, (layer, size) in enumerate(zip(layers, (first.size, second.size), strict=True))
    ]


class _Lane:
    """The pieces of one layer on their way; they are written when they are hashed."""

    def __init__(self, pieces: Iterator[memoryview], write: Write) -> None:
        self._pieces = pieces
        self._write = write
        self.piece: memoryview = memoryview(b"")
        self.size = 0

    def wait(self) -> bool:
        """Let `piece` have bytes, if there are any left, and tell whether there are."""
        while not self.piece:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self.piece = piece
        return True

    def take(self, most: int) -> memoryview:
        """Write the next bytes, at most so many, and return them."""
        taken, self.piece = self.piece[:most], self.piece[most:]
        if taken:
            self._write(taken)
        self.size += len(taken)
        return taken


def _nowhere(_data: memoryview | bytes) -> None:
    """Write nothing."""
