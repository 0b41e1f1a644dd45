"""How many descriptors are read: documents of an image file could refer to any number of others."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from nixdock.errors import ImageError

__all__ = ["MOST_IN_DOCUMENT", "DescriptorBudget"]

MOST_IN_DOCUMENT: Final = 1000
"""The largest number of descriptors in a manifest or an index."""

_MOST_IN_ALL: Final = 50_000


class DescriptorBudget(Struct):
    """How many descriptors may still be read of an image file: 50,000 in all its documents.

    Those of a few hundred images, with a hundred layers each, may be in one layout.
    """

    left: int = _MOST_IN_ALL

    def take(self, descriptors: int, what: str) -> None:
        """Count those of a document; raise ImageError, with `what` as its subject, if too many."""
        if descriptors > MOST_IN_DOCUMENT:
            raise ImageError(f"{what} has more than {MOST_IN_DOCUMENT} descriptors in one document")
        self.left -= descriptors
        if self.left < 0:
            raise ImageError(f"{what} has more than {_MOST_IN_ALL} descriptors")
