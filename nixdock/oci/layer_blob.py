"""A packed layer, as an image's config and manifest describe it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LayerBlob", "LayerHistory"]


@dataclass(frozen=True, slots=True)
class LayerHistory:
    """What made a layer and, as a comment, what is in it (image-spec, config.md, history)."""

    created_by: str
    comment: str


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A layer whose bytes are final.

    `diff_id` is the digest of the uncompressed tar; `digest`, `size` in bytes and `media_type`
    are those of the blob.
    """

    diff_id: str
    digest: str
    size: int
    media_type: str
    history: LayerHistory
