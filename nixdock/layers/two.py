"""Pack two uncompressed layers in one thread, which hashes them in turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

from nixdock.layers.compression import Compression
from nixdock.layers.layer import Layer, Packing, plain_blob
from nixdock.layers.progress import counted
from nixdock.native.sha256 import can_hash_two
from nixdock.oci.digests import Hashing
from nixdock.oci.layer_blob import LayerBlob
from nixdock.system.writers import FileWriter

__all__ = ["can_pack_two", "pack_two"]


def can_pack_two(compression: Compression) -> bool:
    """Tell whether to pack layers that have pieces in twos takes less time."""
    return compression == Compression.NONE and can_hash_two()


def pack_two(
    layers: Sequence[Layer], files: Sequence[Path | None], packings: Sequence[Packing]
) -> list[LayerBlob]:
    """Pack layers, all of which have pieces, without compression, as `pack` does each of them."""
    with ExitStack() as stack:
        blobs: list[Hashing] = []
        packed: list[Iterator[object]] = []
        for layer, file, packing in zip(layers, files, packings, strict=True):
            writer = None if file is None else stack.enter_context(FileWriter(file))
            blob = Hashing(None if writer is None else writer.write)
            write = counted(blob.write, packing.advance)
            blobs.append(blob)
            packed.append(map(write, layer.tar_pieces() or ()))
        for _ in zip_longest(*packed):
            pass
    return [
        plain_blob(layer, blob.digest, blob.size) for layer, blob in zip(layers, blobs, strict=True)
    ]
