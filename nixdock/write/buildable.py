"""What the writers need to know of an image before its layers are packed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from nixdock.layers.layer import Layer
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob

__all__ = ["Assemble", "Buildable", "PackInto"]

PackInto = Callable[[Path], Sequence[LayerBlob]]
"""Packs all layers into a directory, in files named by the hexadecimal digits of their digests."""

Assemble = Callable[[Sequence[LayerBlob]], Image]
"""Describes packed layers as an image."""


class Buildable(Protocol):
    """An image whose layers are not packed yet."""

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers to be, bottom to top."""

    @property
    def mtime(self) -> int:
        """The time, in seconds, of the files that the writer creates."""

    def assemble(self, blobs: Sequence[LayerBlob]) -> Image:
        """Describe the packed layers as an image."""
