"""What a push has done: the image, its layers, and how they got to the registries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from nixdock.oci.attachment import Attachment
from nixdock.oci.descriptor import Blob
from nixdock.oci.layer_blob import LayerBlob
from nixdock.transfer.destination import Outcome

__all__ = ["PushedImage", "PushedLayer"]


class PushedLayer(Struct, frozen=True):
    """A layer and how it got to each target, by the target's HOST/REPOSITORY.

    An image that was not built, but copied, does not tell the last two.
    """

    digest: str
    size: int
    media_type: str
    outcomes: Mapping[str, Outcome]
    diff_id: str | None = None
    comment: str | None = None

    @classmethod
    def of(cls, blob: LayerBlob, outcomes: Mapping[str, Outcome]) -> PushedLayer:
        """Return the layer with that blob."""
        return cls(
            digest=blob.digest,
            size=blob.size,
            media_type=blob.media_type,
            outcomes=outcomes,
            diff_id=blob.diff_id,
            comment=blob.history.comment,
        )

    @property
    def outcome(self) -> Outcome:
        """The outcome that took the most: a layer may be at one target and not at another."""
        return max(self.outcomes.values(), key=list(Outcome).index)

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "digest": self.digest,
            "diff_id": self.diff_id,
            "size": self.size,
            "media_type": self.media_type,
            "comment": self.comment,
            "outcome": self.outcome.value,
            "outcomes": {place: outcome.value for place, outcome in self.outcomes.items()},
        }


class PushedImage(Struct, frozen=True):
    """A pushed image, by the digest of its manifest or index, and the references to it by digest.

    `read` and `sent` are in bytes: of the layers that were packed or read, and of what was sent to
    registries. `requests` is the number of requests to all registries.
    `attachments` are what was attached to the image, and `manifest` is that of an image that was
    built.
    """

    digest: str
    references: tuple[str, ...]
    layers: tuple[PushedLayer, ...]
    read: int
    sent: int
    requests: int = 0
    attachments: tuple[Attachment, ...] = ()
    manifest: Blob | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON object that `nixdock push --json` prints."""
        return {
            "digest": self.digest,
            "references": list(self.references),
            "layers": [layer.document() for layer in self.layers],
            "bytes_read": self.read,
            "bytes_sent": self.sent,
            "requests": self.requests,
            "attachments": [each.document() for each in self.attachments],
        }
