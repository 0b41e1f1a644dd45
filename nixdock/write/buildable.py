"""The interface of images that the writers can pack and write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from nixdock.layers.layer import Layer
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob

__all__ = ["Assemble", "Buildable", "PackInto"]

PackInto = Callable[[Path], Sequence[LayerBlob]]
"""Packs all layers into files in a directory, named by the hexadecimal digits of their digests."""

Assemble = Callable[[Sequence[LayerBlob]], Image]
"""Returns the image that consists of the packed layers."""


class Buildable(Protocol):
    """An image whose layers have not been packed yet."""

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers, bottom to top."""

    @property
    def mtime(self) -> int:
        """The modification time of files that the writer creates, in seconds since the epoch."""

    def assemble(self, blobs: Sequence[LayerBlob]) -> Image:
        """Return the image that consists of the packed layers."""
