"""The limits of container runtimes."""

from __future__ import annotations

from typing import Final

__all__ = ["MOST_LAYERS"]

MOST_LAYERS: Final = 125
"""The largest number of layers: Docker and Podman can't run images with more."""
