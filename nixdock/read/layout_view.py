"""What an OCI layout has: images, and all to which its documents refer."""

from __future__ import annotations

from msgspec import Struct, field

from nixdock.read.stored import StoredImage

__all__ = ["BlobUse", "LayoutView"]


class BlobUse(Struct, frozen=True):
    """A blob to which a descriptor at `place` refers, with the descriptor's digest and size."""

    name: str
    digest: str
    size: int
    place: str


class LayoutView(Struct):
    """The images of a layout, and everything to which its documents refer.

    `blobs` are the layers and other blobs that have not been read; `files` are the names of these
    and of the documents. `names` are the keys and values of the annotations that name images.
    `complete` is False if a document could not be read, so that references may be unknown.
    """

    images: list[StoredImage] = field(default_factory=list)
    blobs: list[BlobUse] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    names: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = True
