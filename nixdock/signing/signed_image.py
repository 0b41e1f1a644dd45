"""What signing an image, or verifying its signature, results in."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["SignedImage"]


class SignedImage(Struct, frozen=True):
    """A manifest or an index that a key has signed.

    `place` is its reference by its digest, or the location of its layout. `forms` are those of the
    signatures, `bundle` or `tag`, and `added` those that were added and had not been there.
    """

    place: str
    digest: str
    forms: tuple[str, ...]
    added: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The place with the digest: the location of a layout, which may have many, has none."""
        return self.place if self.digest in self.place else f"{self.digest} in {self.place}"
