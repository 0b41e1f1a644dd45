"""The keys with which nixdock marks the documents of images."""

from __future__ import annotations

from typing import Final

__all__ = ["LAYER_KEY", "MEMORY_KEY", "PLAN_LABEL"]

MEMORY_KEY: Final = "dev.nixdock.memory"
"""The key of an image config in which nixdock remembers the layers of the image."""

LAYER_KEY: Final = "dev.nixdock.layer.key"
"""The annotation of a layer's descriptor that names the layer by what it was made from."""

PLAN_LABEL: Final = "dev.nixdock.plan"
"""The label in which earlier versions of nixdock remembered the layers."""
