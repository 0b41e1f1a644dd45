"""Packed layers, as the config and the manifest of an image describe them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

__all__ = ["LayerBlob", "LayerHistory"]


class LayerHistory(Struct, frozen=True):
    """Who created a layer and, as a comment, its contents (image-spec, config.md, history)."""

    created_by: str
    comment: str


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A packed layer.

    `diff_id` is the digest of the uncompressed tar. `digest`, `size` (in bytes) and `media_type`
    describe the blob, which may be compressed. `key` names the blob before it is made (see
    `nixdock.layers.keys`), and `tar_size` is the size of the tar in bytes; both are None if they
    are not known. `annotations` are those of the descriptor that describe the blob, in whichever
    image it is.
    """

    diff_id: str
    digest: str
    size: int
    media_type: str
    history: LayerHistory
    key: str | None = None
    tar_size: int | None = field(default=None, compare=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
