"""A layer whose files have not been prepared, in an image of which only the outline is wanted."""

from __future__ import annotations

from typing import NoReturn

from nixdock.layers.created import CreatedLayer
from nixdock.oci.layer_blob import LayerHistory
from nixdock.system.buffers import Write

__all__ = ["PendingLayer"]


class PendingLayer(CreatedLayer, frozen=True):
    """A layer of which nothing is known but its history, so that it can't be packed."""

    history: LayerHistory
    weight: int = 0

    def write_tar(self, _write: Write) -> NoReturn:
        """Raise AssertionError."""
        raise AssertionError("the layer has not been prepared")

    def measured_tar(self) -> NoReturn:
        """Raise AssertionError."""
        raise AssertionError("the layer has not been prepared")
