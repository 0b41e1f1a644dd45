"""What container runtimes take."""

from __future__ import annotations

from typing import Final

__all__ = ["MOST_LAYERS"]

MOST_LAYERS: Final = 125
"""How many layers an image may have: Docker and Podman run no image with more."""
